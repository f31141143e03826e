"""Whatever is edited, the indexes say the same as the records."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.coordination.makers import NOW, make_key, make_node, make_records, node_key

from gatepost.coordination.records import (
    Counters,
    DropKey,
    DropNode,
    DropUser,
    PutKey,
    PutNode,
    PutUser,
    Records,
    User,
)

NUMBERS = st.integers(1, 6)


class EditedRecords(RuleBasedStateMachine):
    """Any order of edits, each as the deciders make them: valid on what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.records = make_records()
        self.fresh = 100

    @rule()
    def add_node(self) -> None:
        self.records = self.records.after([PutNode(make_node(self.records.counters.node))])

    @rule(number=NUMBERS)
    def change_node(self, number: int) -> None:
        node = self.records.nodes.get(number)
        if node is not None:
            self.fresh += 1
            changed = replace(
                node,
                key=node_key(self.fresh),
                label=f"other-{self.fresh}",
                address=IPv4Address("100.70.0.0") + self.fresh,
            )
            self.records = self.records.after([PutNode(changed)])

    @rule(number=NUMBERS)
    def drop_node(self, number: int) -> None:
        if number in self.records.nodes:
            self.records = self.records.after([DropNode(number)])

    @rule(revoked=st.booleans())
    def put_key(self, revoked: bool) -> None:
        number = self.records.counters.key
        key = make_key(number, f"secret {number}", revoked=revoked)
        self.records = self.records.after([PutKey(key), PutKey(replace(key, used=1))])

    @rule(number=NUMBERS)
    def drop_key(self, number: int) -> None:
        if number in self.records.keys:
            self.records = self.records.after([DropKey(number)])

    @rule()
    def add_and_rename_and_drop_a_user(self) -> None:
        user = User(id=self.records.counters.user, name="carol", created=NOW)
        renamed = replace(user, name="caroline")
        self.records = self.records.after([PutUser(user), PutUser(renamed)])
        assert self.records.user_names["caroline"] == user.id
        self.records = self.records.after([DropUser(user.id)])

    @invariant()
    def indexes_agree(self) -> None:
        now = self.records
        rebuilt = Records.of(
            now.users.values(), now.keys.values(), now.nodes.values(), now.counters
        )

        assert rebuilt == now
        assert list(now.nodes) == sorted(now.nodes)

    @invariant()
    def ids_are_never_used_again(self) -> None:
        counters = self.records.counters

        assert all(i < counters.node for i in self.records.nodes)
        assert all(i < counters.key for i in self.records.keys)


EditedRecords.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestEditedRecords = EditedRecords.TestCase


def test_an_edit_leaves_the_old_records_as_they_were() -> None:
    old = make_records(make_node(1))
    new = old.after([DropNode(1)])

    assert 1 in old.nodes
    assert 1 not in new.nodes
    assert new.counters == Counters(user=3, key=1, node=2)
