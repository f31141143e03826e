"""Finds the routers by which this machine reaches the internet."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from gatepost.linux.netlink import Netlink, RoutingMessage, RoutingType, routing_request
from gatepost.linux.netlink_message import Message, Request
from gatepost.linux.rtnetlink import Link
from gatepost.model.gateway import Gateway, Gateway6
from gatepost.model.netmap import IPAddress
from gatepost.model.owned import MARK

MOST = 8  # links that are asked about
# A root name server: far away from everybody. Nothing is sent to it.
_FAR = IPv4Address("198.41.0.4")
_FAR_V6 = IPv6Address("2001:503:ba3e::2:30")
_PRIVATE_V6 = IPv6Network("fc00::/7")  # RFC 4193


async def read_gateways(netlink: Netlink, links: Iterable[Link]) -> tuple[Gateway, ...]:
    """Return the IPv4 gateway of each link that has one, with our address towards it.

    Each link is asked about on its own: a machine with two lines to the internet
    has a gateway on both, whichever its default route prefers now.
    """
    found = [_gateway(m, n) for m, n in await _ways(netlink, links, _FAR)]
    return tuple(dict.fromkeys(g for g in found if g is not None))


async def read_gateways_v6(netlink: Netlink, links: Iterable[Link]) -> tuple[Gateway6, ...]:
    """Return the same for IPv6, where our address is one that the internet knows."""
    found = [_gateway_v6(m, n) for m, n in await _ways(netlink, links, _FAR_V6)]
    return tuple(dict.fromkeys(g for g in found if g is not None))


async def _ways(
    netlink: Netlink, links: Iterable[Link], far: IPAddress
) -> list[tuple[Message, str]]:
    """Return the kernel's way out by each link, with the link's name."""
    found: list[tuple[Message, str]] = []
    for link in sorted(links, key=lambda k: k.index)[:MOST]:
        try:
            messages = await netlink.ask(_way_by(link, far))
        except OSError:
            continue  # the kernel's way of saying "no route": ENETUNREACH and others
        found += [(message, link.name) for message in messages]
    return found


def _way_by(link: Link, far: IPAddress) -> Request:
    family = socket.AF_INET if isinstance(far, IPv4Address) else socket.AF_INET6
    return routing_request(
        RoutingType.GET_ROUTE,
        0,
        {"family": family, "dst_len": far.max_prefixlen},
        [("RTA_DST", str(far)), ("RTA_MARK", MARK), ("RTA_OIF", link.index)],
        about=f"route to {far} by {link.name}",
    )


def _gateway(message: Message, device: str) -> Gateway | None:
    gateway, local = _ends(message)
    if not gateway or not local:
        return None  # the internet is on the link itself, as with PPP
    return Gateway(IPv4Address(gateway), IPv4Address(local), device)


def _gateway_v6(message: Message, device: str) -> Gateway6 | None:
    gateway, local = _ends(message)
    if not gateway or not local:
        return None
    ours = IPv6Address(local)
    if ours.is_link_local or ours in _PRIVATE_V6:
        return None  # nobody reaches us by IPv6
    return Gateway6(IPv6Address(gateway), ours, device)


def _ends(message: Message) -> tuple[str | None, str | None]:
    """Return the next hop and our own address."""
    route = RoutingMessage(message)
    return route.text("RTA_GATEWAY"), route.text("RTA_PREFSRC")
