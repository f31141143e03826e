"""Tells hosts of this LAN the way to other sites, so that both sides see real addresses.

IPv6 hosts are told by router advertisements with route information; this box is no default
router because of them. IPv4 hosts are told by their DHCP server or router, and what those
must say is shown. Networks behind other routers of the LAN are offered to the mesh, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Network

from gatepost.api import (
    ACCEPT_RA,
    Advertise,
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
    PluginInfo,
    Route,
    Service,
    WatchLinks,
    WatchLocalNetworks,
    WatchMeshRoutes,
    about,
    forwarding,
    hookimpl,
    owned,
    why_never_behind,
)
from gatepost.sessions.lan_routes import lans_of, read_route, routes_for
from gatepost_plugins.site_to_site.advertising import (
    Announced,
    Parameters,
    WatchAnnounced,
    advertise,
    take_back,
)

NAME = "site-to-site"
_SHOWN = 4  # routes that a notice names


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    announce_on: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Announce on",
            "Network devices, such as lan0, where IPv6 hosts are told the routes by router "
            "advertisements. This box does not become their default router.",
        ),
    )
    behind: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Behind other routers",
            "Networks behind another router of this LAN, such as 10.1.5.0/24 via 10.1.0.9, that "
            "the mesh may reach.",
        ),
    )
    router_knows: bool = field(
        default=False,
        metadata=about(
            "The router knows",
            "The LAN's router sends here what goes to other sites, or is this box: do not remind.",
        ),
    )

    def __post_init__(self) -> None:
        for text in self.behind:
            read_route(text)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Site to site",
        summary="Tells hosts of this LAN the way to other sites, so that both see real addresses.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield from (ACCEPT_RA, WatchLocalNetworks(), WatchLinks(), WatchMeshRoutes(), WatchAnnounced())
    local = observed.get(WatchLocalNetworks(), LocalNetworks())
    carried = observed.get(WatchMeshRoutes(), ())
    behind = tuple(map(read_route, settings.behind))
    approved = [n for n, _ in behind if n in netmap.me.allowed]
    versions: set[int] = {n.version for n in approved}
    yield from _behind(netmap, behind, local)
    for network in carried:
        if approved:
            yield ForwardOut(network)
            yield ClampMss(network)
    yield from _announced(settings, observed, carried, local)
    if settings.announce_on:
        versions.add(6)
    if not settings.router_knows:
        yield from _reminders(netmap, local, carried)
    yield from forwarding(versions, observed.get(ACCEPT_RA, ""))


# --- networks behind other routers ----------------------------------------------------


def _behind(
    netmap: NetMap, behind: Iterable[tuple[IPNetwork, IPAddress]], local: LocalNetworks
) -> Iterator[Item]:
    waiting = list[IPNetwork]()
    for network, router in behind:
        if reason := why_never_behind(network):
            yield Notice("network-refused", f"{network} is not advertised: {reason}", Level.ERROR)
            continue
        if not any(router in attached for attached in local.networks):
            yield Notice(
                "router-unknown",
                f"{network}: its router {router} is in no network that this box is attached to",
            )
            continue
        yield Advertise(network)
        if network in netmap.me.allowed:
            yield Route(owned.ROUTE_TABLE, network, gateway=router)
            yield Forward(network)
            yield ClampMss(network)
        else:
            waiting.append(network)
    if waiting:
        names = ", ".join(map(str, waiting))
        yield Notice(
            "route-not-approved",
            f"{names}: advertised, but not approved on the coordination server yet "
            "(`gatepost admin routes`)",
            Level.INFO,
        )


# --- what hosts are told --------------------------------------------------------------


def _announced(
    settings: Settings, observed: Observed, carried: Iterable[IPNetwork], local: LocalNetworks
) -> Iterator[Item]:
    up = observed.get(WatchLinks(), ())
    if missing := [link for link in settings.announce_on if up and link not in up]:
        yield Notice(
            "announce-device", f"{', '.join(missing)}: not up, so nobody is told a route there"
        )
    routes = _remote(carried, local)
    wanted = {link: routes for link in settings.announce_on if link in up}
    told = dict(observed.get(WatchAnnounced(), Announced()).routes)
    links = sorted({link for link in (*wanted, *told) if link in up})
    parameters = tuple(
        Parameters(
            link=link,
            routes=wanted.get(link, frozenset()),
            withdrawn=told.get(link, frozenset()) - wanted.get(link, frozenset()),
        )
        for link in links
    )
    spoken = tuple(p for p in parameters if p.routes or p.withdrawn)
    if spoken:
        yield Service(NAME, advertise, spoken, farewell=take_back)


def _remote(carried: Iterable[IPNetwork], local: LocalNetworks) -> frozenset[IPv6Network]:
    """Return what is in no LAN of this box, in the fewest prefixes."""
    found = tuple(n for n in carried if isinstance(n, IPv6Network))
    for attached in local.networks:
        if isinstance(attached, IPv6Network):
            found = tuple(n for n in routes_for(attached, found) if isinstance(n, IPv6Network))
    return frozenset(found)


def _reminders(
    netmap: NetMap, local: LocalNetworks, carried: tuple[IPNetwork, ...]
) -> Iterator[Item]:
    for lan in lans_of(netmap.me.routes, local, carried):
        if lan.network.version == 4 and lan.routes:  # noqa: PLR2004  # the version of IP
            shown = ", ".join(map(str, lan.routes[:_SHOWN]))
            more = f" and {len(lan.routes) - _SHOWN} more" if len(lan.routes) > _SHOWN else ""
            yield Notice(
                "lan-routes",
                f"unless this box is the router of {lan.network}, add on that router: {shown}"
                f"{more} via {lan.via} (`gatepost site-to-site routes`); when that is done: "
                "gatepost plugin set site-to-site router-knows=true",
                Level.INFO,
            )
