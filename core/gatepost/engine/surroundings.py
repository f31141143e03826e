"""Judges what a box finds around itself: which networks to share, and how deep the NAT is. Pure.

A network is proposed if hosts live in it and nothing speaks against: not the network
between this box and a router of the provider, not one of containers on this machine,
not one that another site has as well (4via6 or an alias tell those apart).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network

from gatepost.model.netmap import MESH_V4, MESH_V6, IPAddress, IPNetwork
from gatepost.model.surroundings import (
    AroundFacts,
    FoundNetwork,
    InterfaceFacts,
    Lease,
    NatDepth,
    SurroundingsDocument,
)

_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
# Names that container and virtual machine programs give their bridges.
_INNER = ("docker", "br-", "virbr", "lxc", "lxdbr", "podman", "cni", "flannel", "incusbr", "veth")
_FEW_HOSTS = 4  # addresses: a link between two routers has no more


def describe_surroundings(facts: AroundFacts) -> SurroundingsDocument:
    found = [
        _judge(network, address, interface, facts)
        for interface in facts.interfaces
        for network, address in _networks(interface)
    ]
    nat, text = nat_depth(facts)
    return SurroundingsDocument(
        networks=tuple(sorted(found, key=lambda n: (not n.proposed, n.interface, n.network))),
        nat=nat,
        nat_text=text,
    )


def nat_depth(facts: AroundFacts) -> tuple[NatDepth, str]:
    """Say how many routers translate this box's IPv4 address, and how that is known."""
    own = {
        a.ip
        for i in facts.interfaces
        if i.name in facts.uplinks
        for a in i.addresses
        if isinstance(a, IPv4Interface)
    }
    seen = {a for a in facts.seen if isinstance(a, IPv4Address)}
    outer = {a for a in facts.mapped if isinstance(a, IPv4Address)}
    if own & seen:
        return "none", "this box has a public IPv4 address"
    if hidden := sorted(a for a in outer if not _is_public(a)):
        return "two", (
            f"the router calls {hidden[0]} its outer address, which is behind a NAT itself: "
            "use one of the two as a bridge, or forward a port on both"
        )
    if outer and seen and not outer & seen:
        return "two", (
            f"the router says that its outer address is {min(outer)}, the internet sees {min(seen)}"
        )
    if shared := sorted(a for a in own if a in MESH_V4):
        return "two", f"{shared[0]} is an address that a provider's NAT gives out (RFC 6598)"
    if own and seen:
        return "one", f"this box has {min(own)}, the internet sees {min(seen)}"
    return "unknown", "nobody on the internet has been asked yet"


def _judge(
    network: IPNetwork, address: IPAddress, interface: InterfaceFacts, facts: AroundFacts
) -> FoundNetwork:
    overlaps = tuple(
        f"{other} at {name}"
        for other, name in facts.remote
        if other.version == network.version and other.prefixlen and other.overlaps(network)
    )
    against = _against(network, interface, facts, overlaps)
    router = next((r for d, r in facts.gateways if d == interface.name and r in network), None)
    is_shared = network in facts.shared
    return FoundNetwork(
        network=str(network),
        interface=interface.name,
        address=str(address),
        gateway=str(router or ""),
        dhcp=_dhcp(network, facts.leases),
        proposed=not against and not is_shared,
        shared=is_shared,
        approved=network in facts.approved,
        why=against or _in_favour(interface, facts),
        overlaps=overlaps,
    )


def _against(
    network: IPNetwork, interface: InterfaceFacts, facts: AroundFacts, overlaps: tuple[str, ...]
) -> str:
    """Say what speaks against sharing a network; "" if nothing does."""
    lans = {i.name for i in facts.interfaces if not i.name.startswith(_INNER)} - facts.uplinks
    is_private = any(network.version == p.version and network.overlaps(p) for p in _PRIVATE)
    reasons = {
        "containers or virtual machines of this box live in it": interface.name.startswith(_INNER),
        "its cable is not plugged in": not interface.is_plugged,
        f"another site has it too ({', '.join(overlaps)}): give this site an alias, or a "
        "number of its own (4via6), or renumber one of them": overlaps,
        "its addresses are public, so others reach it without the mesh": not is_private,
        "there is only room for another router in it": network.num_addresses <= _FEW_HOSTS,
        f"it leads to the internet; hosts are behind {', '.join(sorted(lans))}": (
            lans and interface.name in facts.uplinks
        ),
    }
    return next((text for text, is_so in reasons.items() if is_so), "")


def _in_favour(interface: InterfaceFacts, facts: AroundFacts) -> str:
    if interface.name in facts.uplinks:
        return "this box stands in it, beside its other hosts"
    return "hosts are behind this box in it"


def _dhcp(network: IPNetwork, leases: Iterable[Lease]) -> str:
    for lease in leases:
        if lease.first in network:
            return f"{lease.first} to {lease.last} by {lease.program}"
    return ""


def _networks(interface: InterfaceFacts) -> list[tuple[IPNetwork, IPAddress]]:
    """Return the networks of an interface with our address in each, the first of several."""
    found: dict[IPNetwork, IPAddress] = {}
    for address in interface.addresses:
        if not _is_host_or_ours(address):
            found.setdefault(address.network, address.ip)
    return list(found.items())


def _is_host_or_ours(address: IPv4Interface | IPv6Interface) -> bool:
    if address.is_link_local or address.network.num_addresses == 1:
        return True
    return isinstance(address, IPv6Interface) and address.ip in MESH_V6


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    in_private = any(address.version == p.version and address in p for p in _PRIVATE)
    return not in_private and address not in MESH_V4
