"""The two programs that translate, with what they know (`gatepost/bpf/via6.c`).

    aliases   IPv6 of the peer 16, site 4          -> alias 4
    peers     alias 4                              -> IPv6 of the peer 16, site 4
    targets   length 4 (ours), site 4, IPv4 4      -> 4 (ours): 1 may be reached, 0 may not

Numbers are in network order unless they are said to be in this machine's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from gatepost.api import MapEntry, TrafficProgram, owned

_SITE_BITS = 32
_SMALLEST_WITH_BROADCAST = 30  # bits of a prefix


def programs(
    site: int, networks: tuple[IPv4Network, ...], aliases: Mapping[IPv6Address, IPv4Address]
) -> Iterator[TrafficProgram]:
    number = site.to_bytes(4, "big")
    targets = {MapEntry("targets", k, v) for k, v in _targets(number, networks).items()}
    forth = {MapEntry("aliases", a.packed + number, b.packed) for a, b in aliases.items()}
    back = {MapEntry("peers", b.packed, a.packed + number) for a, b in aliases.items()}
    yield TrafficProgram(
        device=owned.DEVICE,
        direction="in",
        priority=owned.VIA6_PRIORITY,
        object="via6",
        program="inward",
        entries=frozenset(targets | forth),
    )
    yield TrafficProgram(
        device=owned.DEVICE,
        direction="out",
        priority=owned.VIA6_PRIORITY,
        object="via6",
        program="outward",
        entries=frozenset(back),
    )


def _targets(site: bytes, networks: tuple[IPv4Network, ...]) -> Mapping[bytes, bytes]:
    """Return who may be reached; the first and last address of a network only if told so."""
    targets = {_target(site, network): _value(allowed=True) for network in networks}
    for network in networks:
        if network.prefixlen <= _SMALLEST_WITH_BROADCAST:
            for address in (network.network_address, network.broadcast_address):
                targets.setdefault(_target(site, IPv4Network(address)), _value(allowed=False))
    return targets


def _target(site: bytes, network: IPv4Network) -> bytes:
    length = (_SITE_BITS + network.prefixlen).to_bytes(4, sys.byteorder)
    return length + site + network.network_address.packed


def _value(*, allowed: bool) -> bytes:
    return int(allowed).to_bytes(4, sys.byteorder)
