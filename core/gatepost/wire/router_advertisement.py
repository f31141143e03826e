"""Router advertisements that tell hosts routes: ICMPv6 messages, without the IPv6 header.

    advertisement      offset  size  meaning
                       0       1     type, 134
                       1       1     code, 0
                       2       2     checksum; the kernel fills it in
                       4       1     hop limit for hosts, 0 says nothing
                       5       1     flags; ours are 0: no address comes from DHCPv6 because of us
                       6       2     router lifetime in seconds, 0: no default router
                       8       4     reachable time in milliseconds, 0 says nothing
                       12      4     retransmission time in milliseconds, 0 says nothing
                       16      n     options

    any option         0       1     type
                       1       1     length in units of 8 octets, the two before it included
    route information  0       1     type, 24
                       1       1     length: 1 (prefix of 0 bits), 2 (up to 64) or 3
                       2       1     prefix length, 0 to 128
                       3       1     preference in bits 3 and 4: 0 medium, 1 high, 3 low
                       4       4     lifetime in seconds; 0 takes it back, all ones is for ever
                       8       0, 8 or 16   the prefix, as many octets as the length has room for

    solicitation       0       1     type, 133
                       1       1     code, 0
                       2       2     checksum
                       4       4     reserved
                       8       n     options

All integers are big-endian. Sources: RFC 4861 sections 4.1, 4.2 and 6.1, RFC 4191 section 2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Literal

from gatepost.errors import Malformed, Truncated

ADVERTISEMENT, SOLICITATION = 134, 133  # ICMPv6 types
FOR_EVER = 0xFFFFFFFF  # seconds
ROOM = 1280 - 40  # octets: the smallest packet that every IPv6 link takes, without its header

Preference = Literal["low", "medium", "high"]

_ADVERTISEMENT = struct.Struct(">BBHBBHII")
_SOLICITATION = struct.Struct(">BBHI")
_ROUTE = struct.Struct(">BBBBI")
_ROUTE_INFORMATION = 24
_UNIT = 8  # octets
_LAST_BIT = 128
_PREFERENCES: dict[Preference, int] = {"medium": 0, "high": 1, "low": 3}
_PREFERENCE_NAMES: dict[int, Preference] = {number: name for name, number in _PREFERENCES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteInformation:
    """A route by way of the sender; `lifetime` is 0 to FOR_EVER seconds."""

    prefix: IPv6Network
    lifetime: int
    preference: Preference = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAdvertisement:
    """`router_lifetime`: seconds, 0 to 65535, that the sender is a default router; 0 it is none."""

    router_lifetime: int = 0
    routes: tuple[RouteInformation, ...] = ()


def write_advertisement(advertisement: RouterAdvertisement) -> bytes:
    head = _ADVERTISEMENT.pack(ADVERTISEMENT, 0, 0, 0, 0, advertisement.router_lifetime, 0, 0)
    return head + b"".join(map(_write_route, advertisement.routes))


def _write_route(route: RouteInformation) -> bytes:
    units = _units(route.prefix.prefixlen)
    head = _ROUTE.pack(
        _ROUTE_INFORMATION,
        units,
        route.prefix.prefixlen,
        _PREFERENCES[route.preference] << 3,
        route.lifetime,
    )
    return head + route.prefix.network_address.packed[: (units - 1) * _UNIT]


def _units(prefix_length: int) -> int:
    """Return the shortest length that an option for such a prefix may have."""
    return 1 + -(-prefix_length // 64)


def read_advertisement(raw: bytes) -> RouterAdvertisement:
    """Read the router lifetime and the routes; other options are skipped, as RFC 4861 asks.

    A route of a reserved preference is skipped, too (RFC 4191, 2.3). Raise `Truncated`, or
    `Malformed` for another message and an option that contradicts itself.
    """
    if len(raw) < _ADVERTISEMENT.size:
        raise Truncated(
            f"a router advertisement has {_ADVERTISEMENT.size} bytes at least, not {len(raw)}"
        )
    kind, code, _, _, _, lifetime, _, _ = _ADVERTISEMENT.unpack_from(raw)
    if (kind, code) != (ADVERTISEMENT, 0):
        raise Malformed(f"ICMPv6 type {kind} code {code} is no router advertisement")
    options = _options(raw[_ADVERTISEMENT.size :])
    read = [_read_route(option) for number, option in options if number == _ROUTE_INFORMATION]
    return RouterAdvertisement(
        router_lifetime=lifetime, routes=tuple(r for r in read if r is not None)
    )


def _options(raw: bytes) -> Iterator[tuple[int, bytes]]:
    while raw:
        if len(raw) < 2:  # noqa: PLR2004  # type and length
            raise Truncated("an option ends after its type")
        number, length = raw[0], raw[1] * _UNIT
        if length == 0:
            raise Malformed(f"option {number} has length 0")
        if length > len(raw):
            raise Truncated(f"option {number} has {length} bytes, and {len(raw)} are left")
        yield number, raw[:length]
        raw = raw[length:]


def _read_route(option: bytes) -> RouteInformation | None:
    _, units, length, flags, lifetime = _ROUTE.unpack_from(option)
    if length > _LAST_BIT:
        raise Malformed(f"prefix length {length} is over {_LAST_BIT}")
    if not _units(length) <= units <= _units(_LAST_BIT):
        raise Malformed(f"a route to a prefix of {length} bits in {units * _UNIT} bytes")
    preference = _PREFERENCE_NAMES.get(flags >> 3 & 3)
    if preference is None:
        return None
    address = IPv6Address(option[_ROUTE.size :].ljust(16, b"\0"))
    # Bits after the prefix are to be ignored, whatever the sender put there.
    prefix = IPv6Network((address, length), strict=False)
    return RouteInformation(prefix=prefix, lifetime=lifetime, preference=preference)


def write_solicitation() -> bytes:
    return _SOLICITATION.pack(SOLICITATION, 0, 0, 0)


def is_solicitation(raw: bytes) -> bool:
    """Say whether this asks routers to advertise at once; what is cut short or bent does not."""
    if len(raw) < _SOLICITATION.size or (raw[0], raw[1]) != (SOLICITATION, 0):
        return False
    try:
        return all(True for _ in _options(raw[_SOLICITATION.size :]))
    except (Truncated, Malformed):
        return False


def in_packets(routes: Iterable[RouteInformation]) -> Iterator[RouterAdvertisement]:
    """Spread routes over as many advertisements as it takes, each of which fits every link."""
    left, held = ROOM - _ADVERTISEMENT.size, list[RouteInformation]()
    for route in routes:
        size = _units(route.prefix.prefixlen) * _UNIT
        if size > left:
            yield RouterAdvertisement(routes=tuple(held))
            left, held = ROOM - _ADVERTISEMENT.size, []
        held.append(route)
        left -= size
    if held:
        yield RouterAdvertisement(routes=tuple(held))
