"""Relay regions as the coordination server tells them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import NetMap
from gatepost.sessions.netmap import MapState
from gatepost.wire import netmap as wire
from gatepost.wire.derp_map import DerpMap, DerpNode, DerpRegion, HomeParams


def state(**fields: Any) -> MapState:  # fields of MapResponse
    """Return what a node knows after a first answer."""
    fresh = MapState()
    me = wire.MapNode(id=100, key=NodePublic(bytes(31) + b"d"), addresses=("100.64.0.100/32",))
    fresh.apply(wire.MapResponse(node=me, **fields))
    return fresh


def read(of: MapState) -> NetMap:
    netmap = of.netmap()
    assert netmap is not None
    return netmap


def test_a_relay_map_replaces_the_one_before() -> None:
    def relays(*numbers: int) -> DerpMap:
        return DerpMap(regions={str(n): DerpRegion(region_id=n) for n in numbers})

    of = state(derp_map=relays(2, 1))
    assert [r.id for r in read(of).derp] == [1, 2]
    of.apply(wire.MapResponse(derp_map=DerpMap()))
    assert [r.id for r in read(of).derp] == [1, 2]
    of.apply(wire.MapResponse(derp_map=relays(3)))

    assert [r.id for r in read(of).derp] == [3]


def test_scores_of_regions_come_with_the_map_or_alone() -> None:
    regions: dict[str, DerpRegion | None] = {str(n): DerpRegion(region_id=n) for n in (1, 2)}
    first = HomeParams(region_score={"1": 0.5, "2": -1.0, "9": 3.0})
    of = state(derp_map=DerpMap(regions=regions, home_params=first))
    assert [r.score for r in read(of).derp] == [0.5, 1.0]
    of.apply(wire.MapResponse(derp_map=DerpMap(home_params=HomeParams(region_score={"2": 2.0}))))
    assert [r.score for r in read(of).derp] == [1.0, 2.0]
    of.apply(wire.MapResponse(derp_map=DerpMap(regions=regions)))
    assert [r.score for r in read(of).derp] == [1.0, 2.0]
    again = MapState()
    again.load(of.dump())
    assert [r.score for r in read(again).derp] == [1.0, 2.0]
    of.apply(wire.MapResponse(derp_map=DerpMap(home_params=HomeParams(region_score={}))))

    assert [r.score for r in read(of).derp] == [1.0, 1.0]


def test_a_region_may_be_barred_from_being_home() -> None:
    barred = DerpRegion(region_id=1, no_measure_no_home=True)
    of = state(derp_map=DerpMap(regions={"1": barred, "2": DerpRegion(region_id=2)}))

    assert [r.may_be_home for r in read(of).derp] == [False, True]


def relay(**fields: Any) -> DerpMap:  # fields of DerpNode
    one = DerpNode(name="n", region_id=1, host_name="h", **fields)
    return DerpMap(regions={"1": DerpRegion(region_id=1, nodes=(one,)), "2": None})


def test_a_relay_has_the_usual_ports_unless_it_says_otherwise() -> None:
    [usual] = read(state(derp_map=relay(ipv4="none", ipv6="2001:db8::1"))).derp[0].nodes
    special = relay(derp_port=1, stun_port=-1, ipv4="192.0.2.1")
    [other] = read(state(derp_map=special)).derp[0].nodes

    assert (usual.port, usual.stun_port, usual.address_v4) == (443, 3478, None)
    assert usual.address_v6 == ip_address("2001:db8::1")
    assert (other.port, other.stun_port) == (1, -1)
    assert other.address_v4 == ip_address("192.0.2.1")


@pytest.mark.parametrize(
    "wrong",
    [{"derp_port": 65536}, {"stun_port": -2}, {"ipv4": "x"}, {"ipv4": "::1"}, {"ipv6": "1.2.3.4"}],
    ids=str,
)
def test_a_malformed_relay_region_is_left_out_and_named(wrong: dict[str, Any]) -> None:
    of = state(derp_map=relay(**wrong))

    assert read(of).derp == ()
    assert of.problems[0].startswith("relay region 1: ")


def test_a_region_under_another_number_is_left_out() -> None:
    of = state(derp_map=DerpMap(regions={n: DerpRegion(region_id=0) for n in ("5", "0")}))

    assert read(of).derp == ()
    assert len(of.problems) == 2
