"""Classless static routes, the value of DHCP option 121.

    route   offset  size    meaning
            0       1       width of the mask, 0 to 32
            1       0 to 4  the octets of the network that the mask reaches into
            1 + n   4       the router

One after the other, without anything between. A client that is given this option ignores
the option "router" (3), so the default route has to be among them. Source: RFC 3442.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from gatepost.errors import Malformed, Truncated

CODE = 121
LONGEST = 255  # octets of one option; longer values need RFC 3396, which few clients know
_WIDTHS = 32


@dataclass(frozen=True, slots=True)
class ClasslessRoute:
    destination: IPv4Network
    router: IPv4Address


def write_routes(routes: Iterable[ClasslessRoute]) -> bytes:
    return b"".join(map(_write_route, routes))


def _write_route(route: ClasslessRoute) -> bytes:
    width = route.destination.prefixlen
    network = route.destination.network_address.packed[: _octets(width)]
    return bytes([width]) + network + route.router.packed


def _octets(width: int) -> int:
    return -(-width // 8)


def read_routes(raw: bytes) -> tuple[ClasslessRoute, ...]:
    """Read all of it; raise `Truncated`, or `Malformed` for a mask that does not exist.

    Bits outside of the mask are cleared (RFC 3442: "significant octets").
    """
    routes = list[ClasslessRoute]()
    while raw:
        width = raw[0]
        if width > _WIDTHS:
            raise Malformed(f"a mask of {width} bits is wider than {_WIDTHS}")
        end = 1 + _octets(width)
        if len(raw) < end + 4:
            raise Truncated(f"a route with a mask of {width} bits has {end + 4} bytes")
        network = IPv4Address(raw[1:end].ljust(4, b"\0"))
        routes.append(
            ClasslessRoute(
                IPv4Network((network, width), strict=False), IPv4Address(raw[end : end + 4])
            )
        )
        raw = raw[end + 4 :]
    return tuple(routes)
