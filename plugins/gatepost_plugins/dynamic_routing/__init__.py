"""Exchanges routes with the routers of this LAN, by BGP or OSPF.

Networks that they know are offered to the mesh, and they learn the way to other sites. FRR
does the talking: `gatepost-frr` runs it as the `RoutingDaemon` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from gatepost.api import (
    ACCEPT_RA,
    MESH_V4,
    MESH_V6,
    Advertise,
    BgpSpeaker,
    ClampMss,
    Forward,
    ForwardOut,
    IPAddress,
    IPNetwork,
    Item,
    Level,
    LocalNetworks,
    NetMap,
    Notice,
    Observed,
    OspfSpeaker,
    PluginInfo,
    RoutingDaemon,
    RoutingState,
    WatchLinks,
    WatchLocalNetworks,
    WatchMeshRoutes,
    WatchRouting,
    about,
    forwarding,
    hookimpl,
    why_never_behind,
)
from gatepost_plugins.dynamic_routing.reading import (
    LARGEST,
    read_area,
    read_link,
    read_neighbour,
)

MOST_OFFERED = 1000  # learnt networks; each costs every node of the mesh
_SHOWN = 6  # networks that a notice names
_PROTOCOLS = {"bgp": "BGP", "ospf": "OSPF"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    as_number: int = field(
        default=0,
        metadata=about(
            "Own AS",
            "Number of this box's autonomous system for BGP, such as 65001; 0 is no BGP.",
            minimum=0,
            maximum=LARGEST,
        ),
    )
    neighbours: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "BGP neighbours",
            "Routers of this LAN, such as 10.1.0.9 as 65002; with a password: "
            "10.1.0.9 as 65002 password-file /etc/gatepost/bgp-password.",
        ),
    )
    ospf_links: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "OSPF on", "Network devices, such as lan0, where OSPFv2 is spoken (IPv4); none is off."
        ),
    )
    ospf_area: str = field(
        default="0.0.0.0", metadata=about("OSPF area", "A number, or one with dots.")
    )
    ospf_hello: int = field(
        default=10,
        metadata=about(
            "OSPF hello",
            "Seconds between hellos; a router is dead after four. All on a link have the same.",
            minimum=1,
            maximum=65535 // 4,
        ),
    )
    ospf_password_file: Path | None = field(
        default=None,
        metadata=about("OSPF password", "A file with one line: the MD5 key number 1 of the link."),
    )
    router_id: IPAddress | None = field(
        default=None,
        metadata=about("Router id", "An IPv4 address; empty: this box's address in the mesh."),
    )
    learn: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Learn",
            "These networks and narrower ones may be learnt of the routers; empty is none.",
        ),
    )
    offer: bool = field(
        default=True,
        metadata=about(
            "Offer to the mesh", "Advertise what is learnt; the server still has to approve it."
        ),
    )
    announce: bool = field(
        default=True,
        metadata=about(
            "Announce", "Tell the routers the networks of other sites that this box accepts."
        ),
    )

    def __post_init__(self) -> None:
        neighbours = [read_neighbour(text) for text in self.neighbours]
        if len({n.address for n in neighbours}) < len(neighbours):
            raise ValueError("a neighbour is named twice")
        if neighbours and not self.as_number:
            raise ValueError("neighbours need the number of an own AS: as-number=65001")
        read_area(self.ospf_area)
        for link in self.ospf_links:
            read_link(link)
        if self.router_id is not None and not isinstance(self.router_id, IPv4Address):
            raise ValueError(f"the router id {self.router_id} is not an IPv4 address")
        if self.ospf_password_file is not None and not self.ospf_password_file.is_absolute():
            raise ValueError(f"{self.ospf_password_file} is no whole path: it begins with /")
        for network in self.learn:
            if reason := why_never_behind(network):
                raise ValueError(f"{network} cannot be learnt: {reason}")


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Dynamic routing",
        summary="Exchanges routes with the routers of this LAN by BGP or OSPF (FRR).",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield from (ACCEPT_RA, WatchLocalNetworks(), WatchLinks(), WatchMeshRoutes(), WatchRouting())
    daemon = _daemon(netmap, settings, observed)
    if daemon is None:
        yield _why_none(settings)
        return
    yield daemon
    local = observed.get(WatchLocalNetworks(), LocalNetworks())
    yield from _out_of_place(daemon, local, observed.get(WatchLinks(), ()))
    state = observed.get(WatchRouting(), RoutingState())
    yield from _standing(state)
    if settings.offer:
        yield from _offered(netmap, state, local, observed.get(ACCEPT_RA, ""))


# --- what is wanted of the daemon -----------------------------------------------------


def _daemon(netmap: NetMap, settings: Settings, observed: Observed) -> RoutingDaemon | None:
    bgp = ospf = None
    if settings.neighbours:
        neighbours = tuple(map(read_neighbour, settings.neighbours))
        bgp = BgpSpeaker(number=settings.as_number, neighbours=neighbours)
    if settings.ospf_links:
        ospf = OspfSpeaker(
            area=read_area(settings.ospf_area),
            links=settings.ospf_links,
            hello=settings.ospf_hello,
            password_file=settings.ospf_password_file,
        )
    router_id = _router_id(netmap, settings)
    if (bgp is None and ospf is None) or router_id is None:
        return None
    announce: frozenset[IPNetwork] | None = frozenset()
    if settings.announce:
        is_known = WatchMeshRoutes() in observed.answers
        carried = observed.get(WatchMeshRoutes(), ())
        announce = frozenset(filter(_may_be_told, carried)) if is_known else None
    return RoutingDaemon(
        router_id=router_id, learn=settings.learn, announce=announce, bgp=bgp, ospf=ospf
    )


def _why_none(settings: Settings) -> Notice:
    if settings.neighbours or settings.ospf_links:
        return Notice(
            "no-router-id",
            "no routing protocol is spoken: this box has no IPv4 address in the mesh to be "
            "known by; choose one: gatepost plugin set dynamic-routing router-id=192.168.1.1",
        )
    return Notice(
        "no-routing-protocol",
        "neither BGP nor OSPF is set up: gatepost plugin set dynamic-routing "
        'as-number=65001 "neighbours=10.1.0.9 as 65002" learn=10.0.0.0/8',
        Level.INFO,
    )


def _router_id(netmap: NetMap, settings: Settings) -> IPv4Address | None:
    """Return the chosen one, or an address that no other router has."""
    chosen = (settings.router_id, *netmap.me.addresses)
    return next((a for a in chosen if isinstance(a, IPv4Address)), None)


def _may_be_told(network: IPNetwork) -> bool:
    """Leave out what means something on this box alone, such as its aliases of other sites."""
    return network in {MESH_V4, MESH_V6} or not why_never_behind(network)


def _out_of_place(
    daemon: RoutingDaemon, local: LocalNetworks, up: tuple[str, ...]
) -> Iterator[Notice]:
    for neighbour in daemon.bgp.neighbours if daemon.bgp else ():
        if not any(neighbour.address in attached for attached in local.networks):
            yield Notice(
                "router-unknown",
                f"the BGP neighbour {neighbour.address} is in no network that this box is "
                "attached to",
            )
    links = daemon.ospf.links if daemon.ospf else ()
    if missing := [link for link in links if up and link not in up]:
        yield Notice("ospf-device", f"{', '.join(missing)}: not up, so no OSPF is spoken there")


def _standing(state: RoutingState) -> Iterator[Notice]:
    if state.problem:
        yield Notice("routing-daemon", state.problem, Level.ERROR)
    for neighbour in state.neighbours:
        name = f"{_PROTOCOLS[neighbour.protocol]} with {neighbour.address}"
        reason = f" ({neighbour.reason})" if neighbour.reason else ""
        if neighbour.is_up:
            yield Notice("routing-neighbour", f"{name}: {neighbour.state}", Level.INFO)
        else:
            yield Notice("routing-neighbour-down", f"{name} is down: {neighbour.state}{reason}")


# --- what was learnt ------------------------------------------------------------------


def _offered(
    netmap: NetMap, state: RoutingState, local: LocalNetworks, accept_ra: str
) -> Iterator[Item]:
    learned = sorted(
        {r.network for r in state.learned if _is_elsewhere(r.network, local)},
        key=lambda n: (n.version, n.network_address.packed, n.prefixlen),
    )
    if len(learned) > MOST_OFFERED:
        yield Notice(
            "too-many-routes",
            f"{len(learned)} networks were learnt and {MOST_OFFERED} of them are offered to the "
            "mesh: let the routers sum them up, or learn fewer",
        )
    approved, waiting = list[IPNetwork](), list[IPNetwork]()
    for network in learned[:MOST_OFFERED]:
        yield Advertise(network)
        (approved if network in netmap.me.allowed else waiting).append(network)
    for network in approved:
        yield Forward(network)
        yield ClampMss(network)
    if approved:
        yield from _way_out(netmap)
    if waiting:
        yield Notice(
            "route-not-approved",
            f"{_some(waiting)}: learnt and advertised, but not approved on the coordination "
            "server yet (`gatepost admin routes`)",
            Level.INFO,
        )
    yield from forwarding({n.version for n in approved}, accept_ra)


def _is_elsewhere(network: IPNetwork, local: LocalNetworks) -> bool:
    """Say whether the mesh may be offered it because of a router, not of this box's own place."""
    return not why_never_behind(network) and network not in local.networks


def _way_out(netmap: NetMap) -> Iterator[Item]:
    """Let hosts behind the routers go out to the mesh and to the networks of other sites."""
    remote = {n for p in netmap.peers for n in p.routes if n.prefixlen > 0}
    for network in (MESH_V4, MESH_V6, *sorted(remote, key=str)):
        yield ForwardOut(network)
        yield ClampMss(network)


def _some(networks: Iterable[IPNetwork]) -> str:
    names = [str(n) for n in networks]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
