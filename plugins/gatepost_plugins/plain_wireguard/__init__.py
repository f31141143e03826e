"""Lets machines with the stock WireGuard app into the mesh through this box.

They have a tunnel of their own to this box, and addresses of networks that this box offers to
the mesh like any LAN. So the policy speaks of them by address: other boxes judge what comes
from them, this box what they reach at this site and who reaches them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

from gatepost.api import (
    ACCEPT_RA,
    MESH_V4,
    MESH_V6,
    Address,
    Advertise,
    ClampMss,
    Forward,
    ForwardOut,
    Guests,
    IPNetwork,
    Item,
    Level,
    LocalNetworks,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    Route,
    Tunnel,
    TunnelPeer,
    WatchLocalNetworks,
    WatchMeshRoutes,
    WatchTunnelKey,
    about,
    forwarding,
    hookimpl,
    owned,
    why_never_behind,
)
from gatepost.sessions.guests import Guest, read_guests

KEY = WatchTunnelKey("plain-wireguard")
PORT = 51820  # UDP, what WireGuard's own documents use


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    networks: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Networks",
            "Where the machines get their addresses: one IPv4 network, one IPv6 network or both, "
            "used nowhere else, such as 10.77.1.0/24.",
        ),
    )
    port: int = field(
        default=PORT,
        metadata=about(
            "UDP port", "Must be reachable from outside: forward it.", minimum=1, maximum=65535
        ),
    )
    host: str = field(
        default="",
        metadata=about(
            "Host",
            "The name or address of this box for those machines; empty: what the internet sees.",
        ),
    )
    peers: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Machines",
            "Each with a name, a number and its public key; `gatepost wireguard add` writes them.",
        ),
    )

    def __post_init__(self) -> None:
        read_guests(self.peers)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Plain WireGuard",
        summary="Lets phones with the stock WireGuard app into the mesh, under the same policy.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield from (ACCEPT_RA, KEY, WatchLocalNetworks(), WatchMeshRoutes())
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    if not settings.networks:
        yield Notice(
            "guests-no-network",
            "the machines need a network for their addresses: gatepost plugin set plain-wireguard "
            "networks=10.77.1.0/24",
            Level.INFO,
        )
        return
    if reason := _unfit(settings.networks, attached):
        yield Notice("guests-network", reason, Level.ERROR)
        return
    yield from (Advertise(network) for network in settings.networks)
    if waiting := [n for n in settings.networks if n not in netmap.me.allowed]:
        yield Notice(
            "route-not-approved",
            f"{', '.join(map(str, waiting))}: advertised, but not approved on the coordination "
            "server yet (`gatepost admin routes`)",
            Level.INFO,
        )
    yield from _tunnel(settings, observed)
    approved = [n for n in settings.networks if n not in waiting]
    for network in approved:
        yield Forward(network)
        yield ClampMss(network)
    if approved:
        for network in {MESH_V4, MESH_V6, *observed.get(WatchMeshRoutes(), ())}:
            yield ForwardOut(network)
            yield ClampMss(network)
    yield from forwarding({n.version for n in approved}, observed.get(ACCEPT_RA, ""))


def _tunnel(settings: Settings, observed: Observed) -> Iterator[Item]:
    key = observed.get(KEY, None)
    # Whatever else is missing: nobody comes in by this device without being judged.
    yield Guests(owned.GUEST_DEVICE, frozenset(settings.networks))
    if key is None:
        return
    guests = read_guests(settings.peers)
    yield Tunnel(
        name=owned.GUEST_DEVICE,
        private_key=key,
        port=settings.port,
        mark=owned.MARK,
        mtu=owned.MTU,
        peers=frozenset(_peer(guest, settings.networks) for guest in guests),
    )
    for network in settings.networks:
        mine = network[1]
        yield Address(owned.GUEST_DEVICE, mine)
        yield Route(owned.ROUTE_TABLE, network, owned.GUEST_DEVICE, source=mine)
    if lost := [g.name for g in guests if len(g.addresses(settings.networks)) == 0]:
        yield Notice("guests-no-room", f"{', '.join(lost)}: no network has room for them")


def _peer(guest: Guest, networks: tuple[IPNetwork, ...]) -> TunnelPeer:
    return TunnelPeer(
        public_key=guest.key,
        allowed=frozenset(ip_network(address) for address in guest.addresses(networks)),
    )


def _unfit(networks: tuple[IPNetwork, ...], attached: tuple[IPNetwork, ...]) -> str:
    """Say why these cannot be the machines' networks; nothing if they can."""
    if len({n.version for n in networks}) < len(networks):
        return "one network of each version of IP is enough for the machines"
    for network in networks:
        for other in attached:
            if network.version == other.version and network.overlaps(other):
                return f"{network} overlaps {other}, which is in use already: choose another"
        if network.prefixlen and (reason := why_never_behind(network)):
            return f"{network}: {reason}: choose another"
        if network.num_addresses < 4 or network.prefixlen == 0:  # noqa: PLR2004  # box and one more
            return f"{network} has no room for machines: choose a network such as 10.77.1.0/24"
    return ""
