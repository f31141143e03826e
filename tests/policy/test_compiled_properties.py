"""What holds for every policy and every mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product
from typing import TypeVar, cast

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from tests.policy.makers import ALICE, BOB, CAROL, compiled, make_inventory, make_machine

from gatepost.model.netmap import MESH_V4, MESH_V6, IPAddress
from gatepost.policy.compiled import Compiled
from gatepost.policy.explain import DEFAULT_PROTOCOLS, Question, can
from gatepost.policy.inventory import NOBODY, Inventory, Machine
from gatepost.policy.ports import TCP, UDP
from gatepost.wire.netmap import FilterRule

Rule = dict[str, object]
T = TypeVar("T")

# Making a failing mesh smaller takes minutes and tells little: they are small.
QUICK = settings(
    max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)

ROUTES = ("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "fd00:1::/64")
SOURCES = (
    "*", "alice@example.com", "bob@example.com", "group:team", "group:nobody", "tag:web", "tag:db",
    "autogroup:member", "autogroup:tagged", "autogroup:admin", "10.1.0.0/16", "100.64.0.2",
    "lan", "100.64.0.1-100.64.0.3",
)  # fmt: skip
DESTINATIONS = (
    "*", "alice@example.com", "group:team", "tag:web", "tag:db", "autogroup:tagged",
    "autogroup:internet", "10.1.2.0/24", "10.0.0.0/8", "100.64.0.2", "100.64.0.0/30", "lan",
)  # fmt: skip
ADDRESSES = ("10.1.2.3", "10.1.9.9", "10.2.0.1", "10.9.9.9", "fd00:1::5", "8.8.8.8", "2001:db8::1")
SECTIONS: dict[str, object] = {
    "groups": {"group:team": ["alice@example.com", "carol@example.com"], "group:nobody": []},
    "hosts": {"lan": "10.1.0.0/16"},
}


@st.composite
def meshes(draw: st.DrawFn) -> Inventory:
    numbers = range(1, 1 + draw(st.integers(1, 6)))
    return make_inventory(*(draw(machines(number)) for number in numbers))


def machines(number: int) -> st.SearchStrategy[Machine]:
    return st.builds(
        make_machine,
        st.just(number),
        owner=st.sampled_from((ALICE, BOB, CAROL, NOBODY)),
        tags=st.sampled_from(((), (), ("tag:web",), ("tag:db",), ("tag:db", "tag:web"))),
        routes=st.lists(st.sampled_from(ROUTES), max_size=2, unique=True).map(tuple),
        is_exit=st.booleans(),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    sources = draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=2, unique=True))
    if draw(st.integers(0, 5)) == 0:
        return {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:22"]}
    ports = draw(st.sampled_from(("*", "22", "80-90,443")))
    names = draw(st.lists(st.sampled_from(DESTINATIONS), min_size=1, max_size=2, unique=True))
    rule: Rule = {
        "action": "accept",
        "src": sources,
        "dst": [f"{name}:{ports}" for name in names],
    }
    if ports == "*" and draw(st.booleans()):
        rule["proto"] = draw(st.sampled_from(("tcp", "udp", "47")))
    return rule


policies = st.lists(rules(), max_size=4)


def questions(inventory: Inventory) -> Iterator[Question]:
    """Yield enough questions to see every kind of answer."""
    own = [a for m in inventory.machines.values() for a in m.addresses]
    more = [ip_address(a) for a in ADDRESSES]
    for source, destination in product(own + more[:2], own + more):
        if source.version == destination.version:
            for port, protocol in ((22, TCP), (85, UDP), (7, TCP), (0, 47)):
                yield Question(source=source, destination=destination, port=port, protocol=protocol)


def allowed(made: Compiled) -> set[Question]:
    inventory = made.directory.inventory
    return {q for q in questions(inventory) if can(made, q).is_allowed}


@QUICK
@given(meshes(), policies, rules())
def test_one_rule_more_never_takes_access_away(
    inventory: Inventory, acls: list[Rule], more: Rule
) -> None:
    before = allowed(compiled(inventory, acls=acls, **SECTIONS))
    after = allowed(compiled(inventory, acls=[*acls, more], **SECTIONS))

    assert before <= after


@QUICK
@given(meshes(), policies)
def test_all_filters_together_let_in_what_is_allowed(
    inventory: Inventory, acls: list[Rule]
) -> None:
    made = compiled(inventory, acls=acls, **SECTIONS)
    let_in = {
        q
        for q in questions(inventory)
        if any(_lets_in(made, m, q) for m in inventory.machines.values())
    }

    assert let_in == allowed(made)


CAPABILITIES: Rule = {"tailscale.com/cap/drive": [{"access": "ro"}], "example.com/cap/x": [{}]}


@settings(QUICK, max_examples=150)
@given(
    meshes(),
    st.sampled_from(("autogroup:member", "alice@example.com", "group:team", "100.64.0.1", "*")),
    st.sampled_from(("autogroup:self", "tag:web", "bob@example.com", "100.64.0.2", "*")),
)
def test_all_filters_together_grant_the_capabilities_that_are_told(
    inventory: Inventory, source_name: str, destination: str
) -> None:
    is_of_people = source_name not in {"100.64.0.1", "*"}
    assume(destination != "autogroup:self" or is_of_people)
    grant: Rule = {"src": [source_name], "dst": [destination], "app": CAPABILITIES}
    made = compiled(inventory, grants=[grant], **SECTIONS)

    for source, machine in product(inventory.machines.values(), repeat=2):
        for one, other in zip(source.addresses, machine.addresses, strict=True):
            told = can(made, Question(source=one, destination=other)).capabilities
            assert {name for name, _ in told} == _granted(made, machine, one, other)


def _granted(
    made: Compiled, machine: Machine, source: IPAddress, destination: IPAddress
) -> set[str]:
    """Return what a machine lets a source do at one of its addresses, as clients read filters."""
    return {
        name
        for part in made.filter(machine.id).values()
        for rule in part
        if any(_covers(text, source) for text in rule.src_ips)
        for given in rule.cap_grant or ()
        if any(_covers(text, destination) for text in given.dsts)
        for name in given.cap_map or ()
    }


@QUICK
@given(meshes(), policies, st.randoms(use_true_random=False))
def test_the_order_of_a_policy_has_no_meaning(
    inventory: Inventory, acls: list[Rule], dice: object
) -> None:
    shuffled = _shuffled([_in_any_order(rule, dice) for rule in acls], dice)
    one = compiled(inventory, acls=acls, **SECTIONS)
    other = compiled(inventory, acls=shuffled, **SECTIONS)

    for number in inventory.machines:
        assert one.view(number) == other.view(number)
        assert _union(one.filter(number).values()) == _union(other.filter(number).values())


@QUICK
@given(meshes(), policies, st.data())
def test_a_changed_machine_leads_to_what_compiling_anew_does(
    inventory: Inventory, acls: list[Rule], data: st.DataObject
) -> None:
    made = compiled(inventory, acls=acls, **SECTIONS)
    for _ in range(3):
        for number in inventory.machines:
            made.view(number)
            made.filter(number)
        number = data.draw(st.integers(1, 7))
        changed = data.draw(st.none() | machines(number))
        left = {i: m for i, m in inventory.machines.items() if i != number}
        if changed is not None:
            left[number] = changed
        inventory = replace(inventory, machines=left)
        made = made.after(inventory, [number])
        anew = Compiled.of(made.policy, inventory)

        for other in inventory.machines:
            assert made.view(other) == anew.view(other)
            assert made.filter(other) == anew.filter(other)
            assert made.capabilities(other) == anew.capabilities(other)


def _in_any_order(rule: Rule, dice: object) -> Rule:
    lists = {k: cast("list[object]", v) for k, v in rule.items() if isinstance(v, list)}
    return rule | {k: _shuffled(v, dice) for k, v in lists.items()}


def _shuffled(items: list[T], dice: object) -> list[T]:
    copy = list(items)
    dice.shuffle(copy)  # type: ignore[attr-defined]  # Hypothesis's `Random` has no public type
    return copy


def _union(parts: Iterable[tuple[FilterRule, ...]]) -> set[tuple[object, ...]]:
    return {
        (frozenset(r.src_ips), r.ip_proto, d.ip, d.ports)
        for rules_of_part in parts
        for r in rules_of_part
        for d in r.dst_ports or ()
    }


def _lets_in(made: Compiled, machine: Machine, question: Question) -> bool:
    """Say whether a machine takes a packet in, the way that clients read filters."""
    if not _is_local(machine, question.destination):
        return False
    return any(_fits(rule, question) for part in made.filter(machine.id).values() for rule in part)


def _is_local(machine: Machine, address: IPAddress) -> bool:
    if address in machine.addresses or any(address in r for r in machine.routes):
        return True
    return machine.is_exit and address not in MESH_V4 and address not in MESH_V6


def _fits(rule: FilterRule, question: Question) -> bool:
    protocols = frozenset(rule.ip_proto or ()) or DEFAULT_PROTOCOLS
    if question.protocol not in protocols:
        return False
    if not any(_covers(text, question.source) for text in rule.src_ips):
        return False
    has_ports = question.protocol in {TCP, UDP}
    return any(
        _covers(d.ip, question.destination)
        and (not has_ports or d.ports.first <= question.port <= d.ports.last)
        for d in rule.dst_ports or ()
    )


def _covers(text: str, address: IPAddress) -> bool:
    if text == "*":
        return True
    if "-" in text:
        first, last = map(ip_address, text.split("-"))
        return first.version == address.version and int(first) <= int(address) <= int(last)
    return address in ip_network(text)
