"""What this machine is attached to, apart from the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network

from gatepost.linux import rtnetlink
from gatepost.linux.gateways import read_gateways, read_gateways_v6
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.linux.rtnetlink import InterfaceAddress, Link
from gatepost.linux.wireguard_state import in_order
from gatepost.model.gateway import Gateway, Gateway6
from gatepost.model.netmap import MESH_V4, MESH_V6, IPAddress, IPNetwork
from gatepost.model.owned import DEVICES, MARK
from gatepost.model.process import LocalNetworks

# Root name servers: addresses far away from everybody. Nothing is sent to them, the kernel
# is only asked which way it would go.
_FAR = (IPv4Address("198.41.0.4"), IPv6Address("2001:503:ba3e::2:30"))
_UNUSABLE = rtnetlink.TENTATIVE | rtnetlink.DAD_FAILED | rtnetlink.DEPRECATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Where this machine stands.

    `local` are the networks and addresses of the other interfaces, `endpoints`
    those addresses at which other machines might reach us, `links` the names of
    the links that are up (without loopback), the next two say whether packets
    of this machine have a way out to the internet, `gateways` and `gateways_v6` by which routers.
    """

    local: LocalNetworks
    endpoints: tuple[IPAddress, ...] = ()
    links: tuple[str, ...] = ()
    has_default_v4: bool = False
    has_default_v6: bool = False
    gateways: tuple[Gateway, ...] = ()
    gateways_v6: tuple[Gateway6, ...] = ()


async def read_attachment(netlink: Netlink, ours: frozenset[str] = DEVICES) -> Attachment:
    """Read it all from the kernel; `ours` are the devices that do not count."""
    links = await all_links(netlink)
    messages = await netlink.ask(rtnetlink.get_addresses())
    read = (rtnetlink.read_interface_address(m) for m in messages)
    held = [a for a in read if a is not None]
    judged = attachment(
        links,
        held,
        ours,
        has_default_v4=await _is_reachable(netlink, _FAR[0]),
        has_default_v6=await _is_reachable(netlink, _FAR[1]),
    )
    return replace(
        judged,
        gateways=await read_gateways(netlink, _links_with(links, held, ours, IPv4Address)),
        gateways_v6=await read_gateways_v6(netlink, _links_with(links, held, ours, IPv6Address)),
    )


def _links_with(
    links: Mapping[int, Link],
    held: Iterable[InterfaceAddress],
    ours: frozenset[str],
    version: type[IPAddress],
) -> list[Link]:
    """Return the links that count and have an address of a version, one that others know."""
    found = {
        a.index for a in held if isinstance(a.address, version) and not a.address.is_link_local
    }
    return [k for i, k in links.items() if i in found and _counts(k, ours)]


def attachment(
    links: Mapping[int, Link],
    held: Iterable[InterfaceAddress],
    ours: frozenset[str],
    *,
    has_default_v4: bool,
    has_default_v6: bool,
) -> Attachment:
    """Judge what was read."""
    held = tuple(held)
    up = {i for i, link in links.items() if _counts(link, ours)}
    usable = [a for a in held if a.index in up and not a.flags & _UNUSABLE]
    plugged = {i for i in up if links[i].is_plugged}
    loose = {i for i, k in links.items() if not k.is_loopback and k.name not in ours} - plugged
    networks = _networks(a for a in usable if a.index in plugged)
    severed = _networks(a for a in held if a.index in loose) - networks
    addresses = {a.address for a in usable if not a.address.is_link_local}
    return Attachment(
        local=LocalNetworks(
            networks=in_order(networks), addresses=_in_order(addresses), severed=in_order(severed)
        ),
        endpoints=_in_order(a for a in addresses if _is_endpoint(a)),
        links=tuple(sorted(links[i].name for i in up)),
        has_default_v4=has_default_v4,
        has_default_v6=has_default_v6,
    )


def _networks(held: Iterable[InterfaceAddress]) -> set[IPNetwork]:
    return {
        ip_network(f"{a.address}/{a.length}", strict=False)
        for a in held
        if not a.address.is_link_local and a.length < a.address.max_prefixlen
    }


def _counts(link: Link, ours: frozenset[str]) -> bool:
    return link.is_up and not link.is_loopback and link.name not in ours


def _is_endpoint(address: IPAddress) -> bool:
    in_mesh = address in (MESH_V4 if address.version == 4 else MESH_V6)  # noqa: PLR2004  # the version of IP
    return not (in_mesh or address.is_loopback or address.is_multicast)


def _in_order(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, a.packed)))


async def _is_reachable(netlink: Netlink, far: IPAddress) -> bool:
    """Ask about a packet with our mark, which never enters the mesh."""
    try:
        await netlink.ask(rtnetlink.get_route_to(far, MARK))
    except OSError:
        return False  # the kernel's way of saying "no route": ENETUNREACH and others
    return True
