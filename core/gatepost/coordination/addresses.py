"""Gives each node one IPv4 and one IPv6 address, for as long as the node exists.

The IPv6 address is the mesh prefix with the IPv4 address in its last 32 bits
(100.64.0.1 is fd7a:115c:a1e0::6440:1), so one check for duplicates serves both,
and the blocks of that prefix that mean something to clients (MagicDNS ::53,
4via6 b1a::/64, efe3::/64, ab12:4843:cd96:6200::/104) are never touched.
Source: protocol document 7.13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from gatepost.errors import RefusedError
from gatepost.model.netmap import MESH_V4, MESH_V6

RESERVED = (
    IPv4Network("100.64.0.0/32"),  # the network's own address
    IPv4Network("100.100.0.0/24"),
    IPv4Network("100.100.100.0/24"),  # services of the client itself, MagicDNS
    IPv4Network("100.115.92.0/23"),  # ChromeOS uses it inside the machine
    IPv4Network("100.127.255.255/32"),  # broadcast
)
_FIRST = int(MESH_V4.network_address)
_SIZE = MESH_V4.num_addresses
USABLE = _SIZE - sum(n.num_addresses for n in RESERVED)
_HOLES = tuple((int(n.network_address), int(n.broadcast_address)) for n in RESERVED)


def allocate(taken: Collection[IPv4Address], start: int) -> IPv4Address:
    """Return the first free address at or behind position `start` of the range, once round.

    `taken` holds addresses of nodes, so none that is reserved. The caller counts
    `start` up with every node, so an address is used again as late as possible.
    Raise `RefusedError` if none is free.
    """
    if len(taken) >= USABLE:
        raise RefusedError(f"all addresses of {MESH_V4} are in use: delete nodes that are gone")
    position = start % _SIZE
    while True:
        number = _FIRST + position
        hole_end = next((last for first, last in _HOLES if first <= number <= last), None)
        if hole_end is None and (address := IPv4Address(number)) not in taken:
            return address
        step = 1 if hole_end is None else hole_end - number + 1
        position = (position + step) % _SIZE


def allocate_within(
    pools: Iterable[IPv4Network], taken: Collection[IPv4Address]
) -> IPv4Address | None:
    """Return the first free address of the pools, in their order; None if all are in use."""
    for pool in pools:
        for number in range(int(pool.network_address), int(pool.broadcast_address) + 1):
            address = IPv4Address(number)
            is_reserved = any(first <= number <= last for first, last in _HOLES)
            if address in MESH_V4 and not is_reserved and address not in taken:
                return address
    return None


def ipv6_of(address: IPv4Address) -> IPv6Address:
    """Return the IPv6 address that belongs to an IPv4 address."""
    return IPv6Address(int(MESH_V6.network_address) | int(address))
