"""Which networks are never behind a box, whatever anybody wishes: one list for all who ask.

Plugins refuse to offer them, and the packet filter forwards nothing from the mesh to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from types import MappingProxyType

from gatepost.model.netmap import MESH_V4, MESH_V6, IPNetwork
from gatepost.model.owned import RELAY_NETWORK, RELAY_NETWORK_V6

_RELAYS = "what stands for relays on this box"
NEVER_BEHIND: Mapping[IPNetwork, str] = MappingProxyType(
    {
        ip_network("0.0.0.0/8"): "unspecified",
        ip_network("127.0.0.0/8"): "loopback",
        ip_network("169.254.0.0/16"): "link-local",
        ip_network("224.0.0.0/4"): "multicast",
        ip_network("240.0.0.0/4"): "reserved, broadcast and this box's own aliases",
        MESH_V4: "the mesh itself",
        RELAY_NETWORK: _RELAYS,
        ip_network("::/128"): "unspecified",
        ip_network("::1/128"): "loopback",
        ip_network("::ffff:0:0/96"): "IPv4 in the form of IPv6",
        ip_network("fe80::/10"): "link-local",
        ip_network("ff00::/8"): "multicast",
        MESH_V6: "the mesh itself",
        RELAY_NETWORK_V6: _RELAYS,
    }
)


def why_never_behind(network: IPNetwork) -> str:
    """Say why a network is not offered to the mesh by anybody; nothing if it may be."""
    if network.prefixlen == 0:
        return "a default route is the work of an exit node; name the networks one by one"
    for never, kind in NEVER_BEHIND.items():
        if network.version == never.version and network.overlaps(never):
            return f"it overlaps {never} ({kind}), which is never a network behind a box"
    return ""
