"""The promises of the capabilities that the packet filter grants."""

from __future__ import annotations

from typing import Any

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import NetMap
from gatepost.sessions.netmap import MapState
from gatepost.wire import netmap as wire

RELAY = "tailscale.com/cap/relay"
TARGET = "tailscale.com/cap/relay-target"


def node(number: int, **fields: Any) -> wire.MapNode:  # fields of MapNode
    return wire.MapNode(
        id=number,
        key=NodePublic(number.to_bytes(32, "big")),
        addresses=(f"100.64.0.{number}/32", f"fd7a:115c:a1e0::{number:x}/128"),
        **fields,
    )


def grant(
    *sources: str, to: str = "100.64.0.9/32", **fields: Any
) -> wire.FilterRule:  # of CapGrant
    return wire.FilterRule(src_ips=sources, cap_grant=(wire.CapGrant(dsts=(to,), **fields),))


def read(of: MapState) -> NetMap:
    netmap = of.netmap()
    assert netmap is not None
    return netmap


def state(*rules: wire.FilterRule, jailed: bool = False) -> MapState:
    fresh = MapState()
    peers = (node(1, is_jailed=jailed), node(2))
    fresh.apply(wire.MapResponse(node=node(9), peers=peers, packet_filters={"base": rules}))
    return fresh


def test_a_grant_counts_for_whom_and_where_and_what_it_names() -> None:
    netmap = read(state(grant("100.64.0.1", cap_map={RELAY: None})))
    one, two = netmap.peers

    assert netmap.may(one, RELAY)
    assert not netmap.may(one, TARGET)
    assert not netmap.may(two, RELAY)
    assert not netmap.may(one, RELAY, two)


def test_the_older_list_of_names_grants_as_well() -> None:
    netmap = read(state(grant("100.64.0.1", caps=(TARGET,))))

    assert netmap.may(netmap.peers[0], TARGET)


def test_a_node_may_be_granted_something_at_itself() -> None:
    netmap = read(state(grant("100.64.0.9", cap_map={TARGET: None})))

    assert netmap.may(netmap.me, TARGET)


def test_the_values_of_a_capability_are_kept_as_they_are() -> None:
    netmap = read(state(grant("*", cap_map={"example.com/cap": [{"a": 1}]})))

    assert netmap.grants[0].capabilities == {"example.com/cap": ('{"a":1}',)}


def test_a_grant_that_cannot_be_read_is_left_out_and_named() -> None:
    of = state(grant("100.64.0.1", to="nonsense", cap_map={RELAY: None}))
    netmap = read(of)

    assert netmap.grants == ()
    assert any("nonsense" in problem for problem in of.problems)


def test_a_jailed_peer_is_granted_nothing() -> None:
    netmap = read(state(grant("*", cap_map={RELAY: None}), jailed=True))
    one, two = netmap.peers

    assert not netmap.may(one, RELAY)
    assert netmap.may(two, RELAY)


def test_grants_survive_a_restart() -> None:
    of = state(grant("100.64.0.1", cap_map={RELAY: None}))
    again = MapState()
    again.load(of.dump())

    assert read(again).grants == read(of).grants
