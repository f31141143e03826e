"""Finds the routers by which this machine reaches the internet."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address

from gatepost.linux.netlink import Netlink, RoutingMessage, RoutingType, routing_request
from gatepost.linux.netlink_message import Message, Request
from gatepost.linux.rtnetlink import Link
from gatepost.model.gateway import Gateway
from gatepost.model.owned import MARK

MOST = 8  # links that are asked about
# A root name server: far away from everybody. Nothing is sent to it.
_FAR = IPv4Address("198.41.0.4")


async def read_gateways(netlink: Netlink, links: Iterable[Link]) -> tuple[Gateway, ...]:
    """Return the IPv4 gateway of each link that has one, with our address towards it.

    Each link is asked about on its own: a machine with two lines to the internet
    has a gateway on both, whichever its default route prefers now.
    """
    found: list[Gateway] = []
    for link in sorted(links, key=lambda k: k.index)[:MOST]:
        try:
            messages = await netlink.ask(_way_by(link))
        except OSError:
            continue  # the kernel's way of saying "no route": ENETUNREACH and others
        found += [g for g in (_gateway(m, link.name) for m in messages) if g is not None]
    return tuple(dict.fromkeys(found))


def _way_by(link: Link) -> Request:
    return routing_request(
        RoutingType.GET_ROUTE,
        0,
        {"family": socket.AF_INET, "dst_len": _FAR.max_prefixlen},
        [("RTA_DST", str(_FAR)), ("RTA_MARK", MARK), ("RTA_OIF", link.index)],
        about=f"route to {_FAR} by {link.name}",
    )


def _gateway(message: Message, device: str) -> Gateway | None:
    route = RoutingMessage(message)
    gateway, local = route.text("RTA_GATEWAY"), route.text("RTA_PREFSRC")
    if not gateway or not local:
        return None  # the internet is on the link itself, as with PPP
    return Gateway(IPv4Address(gateway), IPv4Address(local), device)
