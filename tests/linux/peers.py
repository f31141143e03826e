"""Devices and peers of WireGuard for tests: made by number, so that everybody means the same."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Literal, cast

from gatepost.linux.netlink import Netlink
from gatepost.linux.wireguard import WireGuard, open_wireguard
from gatepost.model.kernel import WireGuardDevice, WireGuardPeer
from gatepost.model.keys import NodePrivate
from gatepost.model.netmap import Endpoint, IPNetwork

BACKEND = cast(  # pytest shows a clear error for any other value
    "Literal['auto', 'kernel', 'wireguard-go']", os.environ.get("GATEPOST_TEST_WIREGUARD", "auto")
)
# Sockets of wireguard-go are named after the device, in one folder for all namespaces.
NAME = f"gptest{os.getpid() % 1_000_000}"
ENDPOINT = Endpoint(IPv4Address("192.0.2.9"), 41641)


def make_private(number: int) -> NodePrivate:
    """Return a key in the form in which WireGuard stores it."""
    return NodePrivate(bytes([8]) + number.to_bytes(30, "little") + bytes([64]))


def make_device(number: int = 1, name: str = NAME) -> WireGuardDevice:
    return WireGuardDevice(
        name=name, private_key=make_private(number), port=41641, mark=0x80000, mtu=1280
    )


def make_peer(number: int, *allowed: str) -> WireGuardPeer:
    prefixes = frozenset[IPNetwork](ip_network(a) for a in allowed)
    return WireGuardPeer(device=NAME, public_key=make_private(number).public, allowed=prefixes)


def many_peers(count: int) -> list[WireGuardPeer]:
    """Return peers with two prefixes each. Slow: a public key is a multiplication on the curve."""
    v4, v6 = IPv4Address("100.64.1.0"), IPv6Address("fd7a:115c:a1e0::1:0")
    return [make_peer(n + 2, f"{v4 + n}/32", f"{v6 + n}/128") for n in range(count)]


async def open_it(netlink: Netlink, name: str = NAME) -> WireGuard:
    return await open_wireguard(netlink, name, prefer=BACKEND)
