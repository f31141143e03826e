"""DHCP option 121, RFC 3442."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.wire.dhcp_routes import ClasslessRoute, read_routes, write_routes


def route_of(address: int, width: int, router: int) -> ClasslessRoute:
    return ClasslessRoute(IPv4Network((address, width), strict=False), IPv4Address(router))


routes = st.builds(
    route_of, st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1)
)
ROUTER = IPv4Address("192.168.1.5")


@pytest.mark.parametrize(
    ("network", "octets"),  # the examples of RFC 3442, "Classless Route Option Format"
    [
        ("0.0.0.0/0", "00"),
        ("10.0.0.0/8", "08 0a"),
        ("10.0.0.0/24", "18 0a0000"),
        ("10.17.0.0/16", "10 0a11"),
        ("10.27.129.0/24", "18 0a1b81"),
        ("10.229.0.128/25", "19 0ae50080"),
        ("10.198.122.47/32", "20 0ac67a2f"),
    ],
)
def test_the_standards_examples_are_written_as_it_writes_them(network: str, octets: str) -> None:
    route = ClasslessRoute(IPv4Network(network), ROUTER)

    assert write_routes([route]) == bytes.fromhex(octets) + ROUTER.packed


@given(st.lists(routes, max_size=5).map(tuple))
def test_what_was_written_is_read_back(many: tuple[ClasslessRoute, ...]) -> None:
    assert read_routes(write_routes(many)) == many


@pytest.mark.parametrize("length", range(1, 8))
def test_every_cut_is_refused(length: int) -> None:
    whole = write_routes([ClasslessRoute(IPv4Network("10.0.0.0/24"), ROUTER)])

    with pytest.raises(Truncated):
        read_routes(whole[:length])


def test_a_mask_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Malformed, match="33"):
        read_routes(bytes([33]) + bytes(9))


@given(st.binary(max_size=60))
def test_noise_is_refused_or_reads_as_itself(noise: bytes) -> None:
    try:
        found = read_routes(noise)
    except WireError:
        return
    assert len(write_routes(found)) == len(noise)
