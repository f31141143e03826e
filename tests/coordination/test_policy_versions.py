"""One version of the policy follows another, and none is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.coordination.makers import (
    ALICE,
    BOB,
    NOW,
    make_node,
    make_records,
    make_report,
    make_world,
)

from gatepost.coordination.administration import change_user, make_user
from gatepost.coordination.database.store import Batch, Store
from gatepost.coordination.policy.documents import history_documents
from gatepost.coordination.policy.file import adopt
from gatepost.coordination.policy.versions import (
    domains_of,
    earlier,
    etag_of,
    examine,
    put,
    text_of,
)
from gatepost.coordination.records import PolicyVersion, Records
from gatepost.coordination.world import World
from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.admin import UserRequest
from gatepost.policy.default import DEFAULT_POLICY
from gatepost.policy.intervals import bits
from gatepost.policy.inventory import Inventory, Member, Role
from gatepost.policy.trial import TestsFailedError
from gatepost.wire.hostinfo import Hostinfo

NOTHING = '{"acls": []}\n'
FIRST_POSTURES = """{
  "postures": {"posture:ours": ["node:os == 'linux'"]},
  "acls": [{"action": "accept", "src": ["alice@"], "dst": ["bob@:22"],
            "srcPosture": ["posture:ours"]}],
  "tests": [{"src": "alice@", "accept": ["bob@:22"]}],
}
"""


def with_policy(text: str, number: int = 1) -> Records:
    version = PolicyVersion(id=number, text=text, author="root", created=NOW)
    records = make_records()
    return replace(records, policy=version, counters=replace(records.counters, policy=number + 1))


def test_a_new_text_becomes_the_next_version() -> None:
    records = with_policy(DEFAULT_POLICY, 7)

    decision = put(records, NOTHING, etag="", author="alice", note="close", now=NOW + 1)
    after = records.after(decision.edits)

    assert decision.answer == 8
    assert after.policy == PolicyVersion(
        id=8, text=NOTHING, author="alice", created=NOW + 1, note="close"
    )
    assert after.counters.policy == 9


def test_the_same_text_again_is_no_new_version() -> None:
    decision = put(with_policy(NOTHING), NOTHING, etag="", author="a", note="", now=NOW)

    assert (decision.answer, decision.edits) == (1, ())


def test_who_saw_another_text_is_refused() -> None:
    records = with_policy(NOTHING)

    with pytest.raises(RefusedError, match="version 1 by root is in force now"):
        put(records, "{}", etag=etag_of(DEFAULT_POLICY), author="a", note="", now=NOW)

    assert put(records, "{}", etag=etag_of(NOTHING), author="a", note="", now=NOW).edits


def test_the_default_policy_has_an_etag_too() -> None:
    records = make_records()

    assert text_of(records) == DEFAULT_POLICY
    assert put(records, "{}", etag=etag_of(DEFAULT_POLICY), author="a", note="", now=NOW).edits


@pytest.mark.parametrize("note", ["x" * 501, "two\nlines"])
def test_a_note_is_one_line(note: str) -> None:
    with pytest.raises(SettingsError, match="printable"):
        put(make_records(), NOTHING, etag="", author="a", note=note, now=NOW)


def test_a_policy_that_fails_its_tests_is_not_taken() -> None:
    world = make_world(make_node(1))
    text = '{"acls": [], "tests": [{"src": "alice@", "accept": ["100.64.0.1:22"]}]}'

    with pytest.raises(TestsFailedError, match="want: Accept, got: Drop"):
        examine(text, world.rights.inventory)


def test_the_first_policy_with_postures_is_tested_with_what_the_nodes_report() -> None:
    world = make_posture_world("linux")

    compiled = examine(FIRST_POSTURES, world.rights.inventory)

    assert 2 in bits(compiled.view(1).peers)
    with pytest.raises(TestsFailedError, match="want: Accept, got: Drop"):
        examine(FIRST_POSTURES, make_posture_world("windows").rights.inventory)


def make_posture_world(system: str) -> World:
    """Return a world under the default policy: alice's node 1 has this system, bob has node 2."""
    nodes = make_node(1), make_node(2, user_id=BOB.id)
    return make_world(*nodes, reports={1: make_report(hostinfo=Hostinfo(os=system))})


def test_domains_are_those_of_the_owners() -> None:
    owner = Member(id=1, login="o@Example.com", role=Role.OWNER)
    guest = Member(id=2, login="g@example.org")

    assert domains_of(Inventory(members={1: owner, 2: guest})) == {"example.com"}
    assert domains_of(Inventory(members={2: guest})) == {"example.org"}
    assert domains_of(Inventory()) == frozenset()


def test_history_has_what_each_version_changed() -> None:
    first = PolicyVersion(id=1, text=DEFAULT_POLICY + "// a\n", author="a", created=NOW)
    second = PolicyVersion(id=2, text=DEFAULT_POLICY, author="b", created=NOW, note="back")

    newest, oldest = history_documents([first, second])

    assert (newest.version, newest.note, oldest.version) == (2, "back", 1)
    assert "+// a\n" in oldest.diff
    assert "-// a\n" in newest.diff


def test_an_earlier_version_is_found_by_number_or_as_the_one_before() -> None:
    versions = [PolicyVersion(id=i, text=str(i), author="", created=NOW) for i in (1, 2, 3)]

    assert (earlier(versions, 0).id, earlier(versions, 1).id) == (2, 1)
    assert earlier(versions[:1], 0).text == DEFAULT_POLICY  # who locked himself out gets back in
    for wanted, known in ((4, versions), (0, [])):
        with pytest.raises(NotFoundError):
            earlier(known, wanted)


def test_every_version_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    records = make_records()
    for text in (NOTHING, "{}"):
        decision = put(records, text, etag="", author="root", note="n", now=NOW)
        records = records.after(decision.edits)
        batch = Batch()
        batch.add(decision.edits, records.counters)
        store.write(batch)
    store.close()

    again = Store(tmp_path / "db")
    read, _ = again.read()

    assert read.policy == records.policy
    assert [v.text for v in again.read_policies()] == [NOTHING, "{}"]
    again.close()


# --- policy-file -------------------------------------------------------------


def adopted(path: Path, store: Store, records: Records) -> Records:
    return adopt(path, store, records, make_world().rights.inventory, NOW)


def test_the_file_is_in_force_after_a_start_and_in_the_history(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "db"), tmp_path / "p.hujson"
    path.write_text(NOTHING)

    records = adopted(path, store, Records())

    assert records.policy is not None
    assert (records.policy.text, records.policy.author) == (NOTHING, str(path))
    assert store.read()[0].policy == records.policy
    assert adopted(path, store, records) is records
    store.close()


def test_the_first_policy_with_postures_can_come_from_a_file(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "db"), tmp_path / "p.hujson"
    path.write_text(FIRST_POSTURES)
    inventory = make_posture_world("linux").rights.inventory

    records = adopt(path, store, make_records(), inventory, NOW)

    assert records.policy is not None
    assert records.policy.text == FIRST_POSTURES
    store.close()


def test_without_a_policy_a_wrong_file_stops_the_start(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "db"), tmp_path / "p.hujson"
    with pytest.raises(SettingsError, match=r"policy-file .*p.hujson"):
        adopted(path, store, Records())

    path.write_text('{"acls": 1}')
    with pytest.raises(SettingsError, match="must be an array"):
        adopted(path, store, Records())
    store.close()


def test_a_wrong_file_leaves_the_policy_of_before_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, path = Store(tmp_path / "db"), tmp_path / "p.hujson"
    path.write_text('{"acls": 1}')
    records = with_policy(NOTHING)

    assert adopted(path, store, records) is records
    assert "version 1 stays in force" in caplog.text
    store.close()


def test_roles_of_users_reach_the_policy() -> None:
    world = make_world(make_node(1))

    assert world.rights.inventory.members[ALICE.id].role is Role.MEMBER


def test_the_first_user_is_the_owner() -> None:
    first = make_user(Records(), UserRequest(name="olga"), NOW)
    records = Records().after(first.edits)
    second = make_user(records, UserRequest(name="max"), NOW)
    records = records.after(second.edits)

    assert [u.role for u in records.users.values()] == ["owner", "member"]


def test_a_role_is_given_by_name() -> None:
    records = make_records()

    changed = change_user(records, "bob", UserRequest(role="it-admin"))

    assert records.after(changed.edits).users[BOB.id].role == "it-admin"
    with pytest.raises(SettingsError, match="'king' is not a role"):
        change_user(records, "bob", UserRequest(role="king"))
