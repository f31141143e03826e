"""Our own node reads every form of filter that the compiler writes, and means the same by it."""

from __future__ import annotations

from hypothesis import given
from tests.policy.makers import BOB, accept, compiled, make_inventory, make_machine
from tests.policy.test_compiled_properties import (
    QUICK,
    SECTIONS,
    Rule,
    allowed,
    meshes,
    policies,
    questions,
)

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import AddressRange, FilterRule, IPAddress, NetMap
from gatepost.policy.compiled import Compiled
from gatepost.policy.explain import DEFAULT_PROTOCOLS, Question
from gatepost.policy.inventory import Inventory
from gatepost.sessions.netmap import MapState
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.netmap import MapNode, MapResponse

CLIENT, SERVER, ROUTER = 1, 2, 3


def netmap_of(made: Compiled, number: int) -> NetMap:
    """Return what a node makes of its part of a policy, sent and read."""
    machine = made.machines[number]
    me = MapNode(
        id=number,
        key=NodePublic(number.to_bytes(32, "big")),
        addresses=tuple(f"{a}/{a.max_prefixlen}" for a in machine.addresses),
    )
    message = MapResponse(node=me, packet_filters={"base": (), **made.filter(number)})
    state = MapState()
    state.apply(read_json(write_json(message), MapResponse))
    netmap = state.netmap()
    assert state.problems == ()
    assert netmap is not None
    return netmap


def make_mesh() -> Inventory:
    return make_inventory(
        make_machine(CLIENT),
        make_machine(SERVER, owner=BOB, tags=("tag:web",)),
        make_machine(ROUTER, tags=("tag:router",), routes=("10.1.0.0/16",), is_exit=True),
    )


@QUICK
@given(meshes(), policies)
def test_a_node_lets_in_exactly_what_is_allowed_to_it(
    inventory: Inventory, acls: list[Rule]
) -> None:
    made = compiled(inventory, acls=acls, **SECTIONS)
    granted = allowed(made)
    for machine in inventory.machines.values():
        rules = netmap_of(made, machine.id).filter or ()
        for question in questions(inventory):
            if question.destination in machine.addresses:
                assert _lets_in(rules, question) == (question in granted)


def test_ranges_protocols_and_the_internet_arrive() -> None:
    made = compiled(
        make_mesh(),
        acls=[
            accept("100.64.0.1-100.64.0.9", "tag:router:22"),
            accept("*", "autogroup:internet:*"),
            accept("autogroup:danger-all", "10.1.0.0/16:*", proto="47"),
            accept("*", "tag:router:*", proto="icmp"),
            accept("tag:web", "tag:router:*", proto="132"),
        ],
    )

    rules = netmap_of(made, ROUTER).filter or ()
    assert {r.protocols for r in rules} == {(), (1,), (47,), (132,)}


def test_every_protocol_number_arrives() -> None:
    acls = [accept("*", "tag:web:*", proto=str(number)) for number in range(1, 256)]
    made = compiled(make_mesh(), acls=acls)

    rules = netmap_of(made, SERVER).filter or ()
    assert {p for r in rules for p in r.protocols} == set(range(1, 256))


def test_capabilities_arrive_with_their_values_and_companions() -> None:
    drive = {"tailscale.com/cap/drive": [{"shares": ["*"], "access": "rw"}]}
    relay: dict[str, list[object]] = {"tailscale.com/cap/relay": []}
    made = compiled(
        make_mesh(),
        grants=[
            {"src": ["alice@example.com"], "dst": ["tag:web"], "app": drive},
            {"src": ["alice@example.com"], "dst": ["tag:router"], "app": relay},
        ],
    )

    def names(number: int) -> set[str]:
        return {n for g in netmap_of(made, number).grants for n in g.capabilities}

    assert names(SERVER) == {"tailscale.com/cap/drive"}
    assert names(ROUTER) == {"tailscale.com/cap/relay"}
    assert names(CLIENT) == {"tailscale.com/cap/drive-sharer", "tailscale.com/cap/relay-target"}


def _lets_in(rules: tuple[FilterRule, ...], question: Question) -> bool:
    return any(_fits(rule, question) for rule in rules)


def _fits(rule: FilterRule, question: Question) -> bool:
    if question.protocol not in (frozenset(rule.protocols) or DEFAULT_PROTOCOLS):
        return False
    if not any(_has(r, question.source) for r in rule.sources):
        return False
    has_ports = question.port != 0
    return any(
        _has(there, question.destination)
        and (not has_ports or ports.first <= question.port <= ports.last)
        for there, ports in rule.destinations
    )


def _has(addresses: AddressRange, address: IPAddress) -> bool:
    if addresses.first.version != address.version:
        return False
    return int(addresses.first) <= int(address) <= int(addresses.last)
