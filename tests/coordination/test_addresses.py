"""Addresses are unique, inside the mesh's ranges and never a reserved one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.coordination.addresses import RESERVED, USABLE, allocate, ipv6_of
from gatepost.errors import RefusedError
from gatepost.model.netmap import MESH_V4, MESH_V6


class AllBut(Collection[IPv4Address]):
    """Every usable address is taken except these."""

    def __init__(self, *free: str) -> None:
        self.free = {IPv4Address(f) for f in free}

    def __contains__(self, address: object) -> bool:
        return address not in self.free

    def __len__(self) -> int:
        return USABLE - len(self.free)

    def __iter__(self) -> Iterator[IPv4Address]:
        raise AssertionError("four million addresses are not walked through")


@given(st.integers(0, 1 << 40), st.sets(st.integers(0, 300)))
def test_an_address_is_free_in_the_mesh_and_not_reserved(start: int, taken: set[int]) -> None:
    used = {MESH_V4.network_address + (start + t) % MESH_V4.num_addresses for t in taken}

    address = allocate(used, start)

    assert address not in used
    assert address in MESH_V4
    assert not any(address in network for network in RESERVED)


def test_the_first_node_has_the_first_address() -> None:
    assert allocate((), 1) == IPv4Address("100.64.0.1")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("100.100.0.0", "100.100.1.0"),
        ("100.100.100.100", "100.100.101.0"),
        ("100.115.92.0", "100.115.94.0"),
        ("100.115.93.255", "100.115.94.0"),
        ("100.127.255.255", "100.64.0.1"),
    ],
)
def test_reserved_blocks_are_stepped_over(start: str, expected: str) -> None:
    position = int(IPv4Address(start)) - int(MESH_V4.network_address)

    assert allocate((), position) == IPv4Address(expected)


def test_the_search_goes_round_to_the_last_free_address() -> None:
    assert allocate(AllBut("100.64.0.9"), 4_194_000) == IPv4Address("100.64.0.9")


def test_a_full_range_is_refused() -> None:
    with pytest.raises(RefusedError, match="in use"):
        allocate(AllBut(), 5)


@given(st.integers(1, MESH_V4.num_addresses - 2))
def test_ipv6_addresses_differ_and_avoid_what_clients_use(number: int) -> None:
    address = ipv6_of(MESH_V4.network_address + number)

    assert address in MESH_V6
    assert int(address) & 0xFFFFFFFF == int(MESH_V4.network_address) + number
    assert address in IPv6Network("fd7a:115c:a1e0::/64")
    assert str(address) != "fd7a:115c:a1e0::53"


def test_every_reserved_block_is_inside_the_mesh() -> None:
    assert all(n.subnet_of(MESH_V4) for n in RESERVED)
