"""The world follows records, reports and routes, and never edits an old world."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.coordination.makers import NOW, make_node, make_report, make_world

from gatepost.coordination.records import (
    DropNode,
    NodeRecord,
    PolicyVersion,
    PutNode,
    PutPolicy,
    Report,
)
from gatepost.coordination.routes import Carrier, precedence
from gatepost.coordination.world import Presence, World
from gatepost.model.netmap import IPNetwork
from gatepost.policy.intervals import span_of

NET = ip_network("10.1.0.0/16")
EXIT = ip_network("0.0.0.0/0")
Routes = tuple[IPNetwork, ...]


def router(number: int, *, online: bool | None = True) -> tuple[NodeRecord, Report, Presence]:
    record = make_node(number, approved_routes=(NET, EXIT))
    return record, make_report(number, routes=(NET, EXIT)), Presence(online=online)


def world_of(*routers: tuple[NodeRecord, Report, Presence]) -> World:
    world = make_world(
        *(record for record, _, _ in routers),
        reports={record.id: report for record, report, _ in routers},
    )
    for record, _, presence in routers:
        world = world.with_node(replace(world.nodes[record.id], presence=presence))
    return world


def with_online(world: World, number: int, *, online: bool) -> World:
    return world.with_node(replace(world.nodes[number], presence=Presence(online=online)))


def edited(world: World, record: NodeRecord) -> World:
    records = world.records.after([PutNode(record)])
    return world.with_records(records, {record.id: None}, NOW)


def test_a_node_that_did_not_change_is_the_same_object() -> None:
    old = make_world(make_node(1), make_node(2))
    new = edited(old, make_node(1, label="other"))

    assert new.nodes[2] is old.nodes[2]
    assert old.nodes[1].record.label == "box-1"
    assert new.generation == old.generation + 1


def test_nodes_stay_sorted_by_id() -> None:
    world = edited(make_world(make_node(1), make_node(5)), make_node(7))

    assert list(world.nodes) == [1, 5, 7]


def test_a_new_node_brings_its_first_report() -> None:
    world = make_world(make_node(1))
    records = world.records.after([PutNode(make_node(2), make_report(2))])

    assert world.with_records(records, {2: make_report(2)}, NOW).nodes[2].report == make_report(2)


def test_a_dropped_node_is_gone() -> None:
    world = make_world(make_node(1))
    after = world.with_records(world.records.after([DropNode(1)]), {1: None}, NOW)

    assert after.nodes == {}


def test_a_key_that_ended_makes_the_node_expired() -> None:
    world = edited(make_world(make_node(1)), make_node(1, key_expiry=NOW))

    assert world.nodes[1].presence.expired
    assert not edited(world, make_node(1, key_expiry=NOW + 1)).nodes[1].presence.expired


def test_a_carried_prefix_leads_to_its_first_carrier_only() -> None:
    world = world_of(router(1), router(2))

    assert world.nodes[1].routes == (NET, EXIT)
    assert world.nodes[2].routes == (EXIT,)
    assert world.nodes[1].primary_routes == (NET,)
    assert tuple(world.precedence) == (NET,)


def test_a_prefix_moves_when_its_carrier_goes_and_stays_when_it_comes_back() -> None:
    world = with_online(world_of(router(1), router(2)), 1, online=False)
    assert (world.nodes[1].routes, world.nodes[2].routes) == ((EXIT,), (NET, EXIT))

    back = with_online(world, 1, online=True)

    assert (back.nodes[1].routes, back.nodes[2].routes) == ((EXIT,), (NET, EXIT))


def test_a_prefix_that_is_no_longer_announced_leads_nowhere() -> None:
    world = world_of(router(1))
    silent = world.with_node(replace(world.nodes[1], report=make_report(1)))

    assert silent.nodes[1].routes == ()
    assert not silent.precedence


def test_a_prefix_that_is_no_longer_approved_leads_nowhere() -> None:
    world = edited(world_of(router(1)), make_node(1))

    assert world.nodes[1].routes == ()


def test_an_expired_router_carries_nothing() -> None:
    world = world_of(router(1), router(2))
    expired = world.with_node(replace(world.nodes[1], presence=Presence(online=True, expired=True)))

    assert expired.nodes[1].routes == ()
    assert expired.nodes[2].routes == (NET, EXIT)


def test_a_deleted_router_gives_its_prefix_away() -> None:
    world = world_of(router(1), router(2))
    after = world.with_records(world.records.after([DropNode(1)]), {1: None}, NOW)

    assert after.nodes[2].routes == (NET, EXIT)


def test_after_a_start_nobody_is_known_to_be_online() -> None:
    assert make_world(make_node(1)).nodes[1].presence == Presence(online=None)


POLICY = PolicyVersion(
    id=1,
    text='{"acls": [{"action": "accept", "src": ["*"], "dst": ["10.1.0.0/16:80"]}], '
    '"autoApprovers": {"routes": {"10.2.0.0/16": ["alice@"]}}}',
    author="a test",
    created=NOW,
)


@pytest.mark.parametrize("who", [1, 2, 3])
@pytest.mark.parametrize(
    "presence", [Presence(online=False), Presence(online=True), Presence(online=True, expired=True)]
)
def test_what_happened_while_a_world_was_made_happens_in_it(who: int, presence: Presence) -> None:
    base = world_of(router(1), router(2), (make_node(3), make_report(3), Presence()))
    records = base.records.after([PutPolicy(POLICY), PutNode(make_node(2, label="other"))])
    made = base.with_records(records, {2: None}, NOW)
    report = make_report(who, routes=(NET, ip_network("10.2.0.0/16")), endpoints=("192.0.2.9:9",))
    current = base.with_node(replace(base.nodes[who], report=report, presence=presence))
    current = current.with_node(replace(current.nodes[3], presence=Presence(online=True)))

    found, wanted = made.caught_up(base, current), current.with_records(records, {2: None}, NOW)

    assert found.nodes == wanted.nodes
    assert found.precedence == wanted.precedence
    assert found.generation == wanted.generation
    assert found.rights.inventory == wanted.rights.inventory


def test_who_took_a_prefix_over_while_a_world_was_made_keeps_it() -> None:
    base = world_of(router(1), router(2))
    records = base.records.after([PutPolicy(POLICY)])
    made = base.with_records(records, {}, NOW)
    current = with_online(with_online(base, 1, online=False), 1, online=True)

    found = made.caught_up(base, current)

    assert current.primaries == {NET: 2}
    assert found.primaries == {NET: 2}
    assert found.nodes == current.with_records(records, {}, NOW).nodes


PREFIXES = tuple(ip_network(f"10.{n}.0.0/16") for n in range(4))
some = st.lists(st.sampled_from((*PREFIXES, EXIT)), unique=True, max_size=4).map(tuple)


@given(
    st.lists(
        st.tuples(
            *(st.integers(1, 3), some, some, some, st.sampled_from((None, True, False))),
            *(st.booleans(), st.booleans()),
        ),
        max_size=8,
    )
)
def test_who_carries_what_follows_from_all_carriers_and_who_had_it(
    steps: list[tuple[int, Routes, Routes, Routes, bool | None, bool, bool]],
) -> None:
    """After each step it is what the rule of precedence says of everybody."""
    world = make_world(*(make_node(i) for i in (1, 2, 3)))
    for i, announced, approved, preferred, online, is_expired, is_gone in steps:
        if is_gone and i in world.nodes:
            records = world.records.after([DropNode(i)])
            world = settled(world, world.with_records(records, {i: None}, NOW))
            continue
        record = make_node(i, approved_routes=approved, preferred_routes=preferred)
        world = settled(world, edited(world, record))
        presence = Presence(online=online, expired=is_expired)
        report = make_report(i, routes=announced)
        node = replace(world.nodes[i], presence=presence, report=report)
        world = settled(world, world.with_node(node))


def settled(before: World, after: World) -> World:
    """Check what a world says about routes against the rule; return it."""
    carriers = [
        Carrier(
            id=n.id,
            routes=() if n.presence.expired else n.carried,
            online=n.presence.online,
            preferred=n.record.preferred_routes,
        )
        for n in after.nodes.values()
    ]
    expected = precedence(carriers, before.primaries)

    assert after.precedence == expected
    assert after.spans == {span_of(p): p for p in expected}
    assert after.order == {span_of(p): ids for p, ids in expected.items()}
    for node in after.nodes.values():
        carried = () if node.presence.expired else node.carried
        assert node.routes == tuple(p for p in carried if p == EXIT or expected[p][0] == node.id)
    return after
