"""The files between the node and `gatepost-frr`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.model.routing import (
    BgpNeighbour,
    BgpSpeaker,
    LearnedRoute,
    OspfSpeaker,
    RoutingDaemon,
    RoutingNeighbour,
    RoutingState,
)
from gatepost.wire.routing_files import read_state, read_wanted, write_state, write_wanted

WANTED = RoutingDaemon(
    router_id=IPv4Address("100.64.0.1"),
    learn=(ip_network("10.0.0.0/8"), ip_network("fd00::/16")),
    announce=frozenset(map(ip_network, ("10.2.0.0/24", "fd00:2::/64"))),
    bgp=BgpSpeaker(
        number=65001,
        neighbours=(
            BgpNeighbour(address=ip_address("10.1.0.9"), number=1, password_file=Path("/a b")),
            BgpNeighbour(address=ip_address("fd00::9"), number=2),
        ),
    ),
    ospf=OspfSpeaker(area=IPv4Address(51), links=("lan0",), hello=3, password_file=Path("/c")),
)
STATE = RoutingState(
    problem="bgpd ended",
    neighbours=(
        RoutingNeighbour(
            protocol="bgp", address=ip_address("fd00::9"), is_up=False, state="Idle", reason="x"
        ),
    ),
    learned=(
        LearnedRoute(
            network=ip_network("10.9.0.0/16"), protocol="ospf", gateway=ip_address("10.1.0.9")
        ),
        LearnedRoute(network=ip_network("fd00:9::/64"), protocol="bgp"),
    ),
)


def test_a_wish_comes_back_as_it_was() -> None:
    assert read_wanted(write_wanted(WANTED)) == WANTED
    least = RoutingDaemon(router_id=IPv4Address("1.1.1.1"))
    assert read_wanted(write_wanted(least)) == least


@given(st.permutations([ip_network(f"10.{n}.0.0/16") for n in range(64)]))
def test_the_same_wish_is_the_same_file(announce: list[IPv4Network]) -> None:
    """In whatever order a set gives its networks, which depends on how it was made."""
    one, other = (replace(WANTED, announce=frozenset(a)) for a in (announce, sorted(announce)))

    assert write_wanted(one) == write_wanted(other)


def test_a_state_comes_back_with_its_time() -> None:
    assert read_state(write_state(STATE, 12.5)) == (STATE, 12.5)
    assert read_state(write_state(RoutingState(), 0.0)) == (RoutingState(), 0.0)


@pytest.mark.parametrize("text", [write_wanted(WANTED), write_state(STATE, 1.0)])
def test_half_a_file_is_refused(text: bytes) -> None:
    for end in range(len(text)):
        for read in (read_wanted, read_state):
            with pytest.raises(Malformed):
                read(text[:end])


@given(st.integers(0, len(write_wanted(WANTED)) - 1), st.integers(0, 255))
def test_a_changed_octet_is_read_or_refused(place: int, octet: int) -> None:
    text = bytearray(write_wanted(WANTED))
    text[place] = octet
    try:
        read = read_wanted(bytes(text))
    except Malformed:
        return
    assert isinstance(read, RoutingDaemon)
