"""Which addresses must never become a route because a name leads there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from gatepost.model.netmap import MESH_V4, MESH_V6, DerpRegion, IPAddress, IPNetwork
from gatepost.sessions.dns_names import behind_nat64

_NEVER: dict[IPNetwork, str] = {
    MESH_V4: "an address of the mesh",
    MESH_V6: "an address of the mesh",
    ip_network("0.0.0.0/8"): "no host's address",
    ip_network("127.0.0.0/8"): "loopback",
    ip_network("169.254.0.0/16"): "link-local",
    ip_network("224.0.0.0/4"): "multicast",
    ip_network("240.0.0.0/4"): "no host's address",
    ip_network("::/127"): "loopback or nobody's",
    ip_network("::ffff:0:0/96"): "IPv4 in the form of IPv6",
    ip_network("fe80::/10"): "link-local",
    ip_network("ff00::/8"): "multicast",
}
_PRIVATE: tuple[IPNetwork, ...] = tuple(  # RFC 1918, RFC 4193
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)


def why_not(address: IPAddress, attached: Iterable[IPNetwork], *, private: bool) -> str:
    """Say what an address is that an answer must not lead to; nothing if it may be told.

    `attached` are the networks that this machine is attached to: with `private` those are
    allowed, else a name that somebody else rules would open them.
    """
    there = behind_nat64(address)
    for network, kind in _NEVER.items():
        if _is_in(there, network):
            return kind
    if private:
        return ""
    if any(_is_in(there, n) for n in _PRIVATE):
        return "private"
    if any(_is_in(address, n) or _is_in(there, n) for n in attached):
        return "in a network that this box is attached to"
    return ""


def relay_addresses(regions: Iterable[DerpRegion]) -> frozenset[IPAddress]:
    """Return where relays are: what carries the mesh must not go through it."""
    nodes = [n for region in regions for n in region.nodes]
    found = (a for n in nodes for a in (n.address_v4, n.address_v6))
    return frozenset(a for a in found if a is not None)


def _is_in(address: IPAddress, network: IPNetwork) -> bool:
    return address.version == network.version and address in network
