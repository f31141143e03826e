"""How the kernel reaches one address, and routes of single addresses that go such a way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatepost.linux import rtnetlink
from gatepost.linux.netlink import Netlink, RoutingMessage, RoutingType, routing_request
from gatepost.linux.netlink_message import CREATE, REPLACE, Request
from gatepost.linux.rtnetlink import Link
from gatepost.model.netmap import IPAddress
from gatepost.model.owned import MARK, ROUTE_PROTOCOL

_UNICAST = 1  # RTN_UNICAST
_ON_LINK = 4  # RTNH_F_ONLINK: the next hop need not be in a network of the device
_MTU_BIT = 1 << 2  # RTAX_MTU


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the kernel reaches an address: device, next hop (None: nobody between), our address."""

    link: Link
    gateway: IPAddress | None
    source: IPAddress | None


async def find_course(
    netlink: Netlink, server: IPAddress, links: Mapping[int, Link], mark: int = MARK
) -> Course | None:
    """Ask the kernel how packets with `mark` reach an address; None when that is this machine."""
    messages = await netlink.ask(rtnetlink.get_route_to(server, mark))
    for message in messages:
        route = RoutingMessage(message)
        link = links.get(route.number("RTA_OIF") or 0)
        if link is None or link.is_loopback or route.field("type") != _UNICAST:
            continue
        gateway, source = route.text("RTA_GATEWAY"), route.text("RTA_PREFSRC")
        return Course(
            link=link,
            gateway=rtnetlink_address(gateway) or (server if link.has_ethernet else None),
            source=rtnetlink_address(source),
        )
    return None


def rtnetlink_address(text: str | None) -> IPAddress | None:
    if not text:
        return None
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def route_along(
    address: IPAddress, course: Course, table: int, about: str, mtu: int | None = None
) -> Request:
    """Route an address by a course, in the place of what is there; `mtu` is locked (octets)."""
    fields, attributes = _head(address, table)
    gateway = course.gateway if course.gateway != address else None
    fields["flags"] = _ON_LINK if gateway else 0
    if gateway is None and address.version == 4:  # noqa: PLR2004  # IPv6 routes have no scope
        fields["scope"] = rtnetlink.SCOPE_LINK
    attributes.append(("RTA_OIF", course.link.index))
    if gateway is not None:
        attributes.append(("RTA_GATEWAY", str(gateway)))
    if course.source is not None:
        attributes.append(("RTA_PREFSRC", str(course.source)))
    if mtu is not None:
        metrics = [("RTAX_LOCK", _MTU_BIT), ("RTAX_MTU", mtu)]
        attributes.append(("RTA_METRICS", {"attrs": metrics}))
    return routing_request(RoutingType.NEW_ROUTE, CREATE | REPLACE, fields, attributes, about=about)


def route_removal(address: IPAddress, table: int, about: str) -> Request:
    fields, attributes = _head(address, table)
    fields["scope"] = rtnetlink.SCOPE_NOWHERE
    return routing_request(RoutingType.DELETE_ROUTE, 0, fields, attributes, about=about)


def _head(address: IPAddress, table: int) -> tuple[dict[str, int], list[tuple[str, object]]]:
    fields = {
        "family": rtnetlink.family_of(address.version),
        "dst_len": address.max_prefixlen,
        "table": table,
        "proto": ROUTE_PROTOCOL,
        "scope": rtnetlink.SCOPE_UNIVERSE,
        "type": _UNICAST,
    }
    return fields, [("RTA_DST", str(address))]
