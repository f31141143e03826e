"""Gives an IPv4 network that other sites have too addresses of its own in the mesh.

Beside 4via6, for machines and devices that know IPv4 only: 192.168.1.0/24 here is, say,
10.201.7.0/24 to everybody else, host by host, and this site's hosts come from there. The
operator chooses the other prefix: one that no site uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gatepost.api import (
    ACCEPT_RA,
    MESH_V4,
    MESH_V6,
    Advertise,
    ClampMss,
    ForwardOut,
    IPNetwork,
    Item,
    KnownAs,
    Level,
    LocalNetworks,
    Masquerade,
    NameServer,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    Renumber,
    WatchLocalNetworks,
    about,
    forwarding,
    hookimpl,
    parse_name_server,
    read_suffix,
    site_names,
)
from gatepost_plugins.alias.pairs import read_pair, read_pairs, unfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each of `networks` is "OUTSIDE=INSIDE"; raises ValueError for one that is not."""

    networks: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Networks",
            "What the mesh sees and what is here, such as 10.201.7.0/24=192.168.1.0/24. Choose "
            "a private prefix that no site uses, as long as the network here.",
        ),
    )
    masquerade: bool = field(
        default=True,
        metadata=about("Masquerade", "Let hosts there see this box as the sender."),
    )
    domains: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Domains",
            "Domains of this site, such as berlin.example: the mesh may ask this box about them "
            "and hears addresses that it can reach.",
        ),
    )
    name_servers: tuple[str, ...] = field(
        default=(),
        metadata=about("Name servers", "Who answers for these domains here: 192.168.1.1."),
    )

    def __post_init__(self) -> None:
        read_pairs(self.networks)
        _ = self.suffixes(), self.servers()

    def suffixes(self) -> tuple[str, ...]:
        return tuple(read_suffix(domain) for domain in self.domains)

    def servers(self) -> tuple[NameServer, ...]:
        return tuple(parse_name_server(server) for server in self.name_servers)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Overlapping networks (IPv4 aliases)",
        summary="Gives networks here, which other sites have too, addresses of their own.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield ACCEPT_RA
    yield WatchLocalNetworks()
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    offered = list[Renumber]()
    for text in settings.networks:
        pair = read_pair(text)
        if reason := unfit(pair, attached):
            yield Notice("alias-refused", f"{text} is not advertised: {reason}", Level.ERROR)
            continue
        offered.append(pair)
        yield Advertise(pair.outside)
    yield from _taken(netmap, offered)
    yield from _waiting(p for p in offered if p.outside not in netmap.me.allowed)
    approved = [p for p in offered if p.outside in netmap.me.allowed]
    for pair in approved:
        yield pair
        yield KnownAs(pair.inside, pair.outside)
        yield ClampMss(pair.inside)
        if settings.masquerade:
            yield Masquerade(pair.inside)
    if approved:
        yield from _way_out(netmap)
        yield from _names(settings)
    yield from forwarding({4} if approved else set(), observed.get(ACCEPT_RA, ""))


def _names(settings: Settings) -> Iterator[Item]:
    if settings.domains and settings.name_servers:
        yield from site_names(settings.suffixes(), settings.servers())
    elif settings.domains:
        yield Notice(
            "no-name-server",
            f"{', '.join(settings.domains)}: nobody is named who answers for it here: "
            "gatepost plugin set alias name-servers=192.168.1.1",
        )


def _taken(netmap: NetMap, offered: Iterable[Renumber]) -> Iterator[Item]:
    """Name whoever carries a part of an alias, or all of it: that may be a box of this site."""
    for pair in offered:
        for peer in netmap.peers:
            for route in peer.routes:
                if route == pair.outside:
                    text = f"{route} is carried by {peer.label} too: right if it is at this site"
                    yield Notice("alias-shared", text, Level.INFO)
                elif route.prefixlen > 0 and pair.outside.overlaps(route):
                    yield Notice(
                        "alias-taken",
                        f"{pair.outside} overlaps {route}, which {peer.label} carries: give this "
                        "site another prefix (gatepost plugin set alias networks=...)",
                    )


def _waiting(pairs: Iterable[Renumber]) -> Iterator[Item]:
    if names := ", ".join(f"{p.outside} ({p.inside})" for p in pairs):
        yield Notice(
            "route-not-approved",
            f"{names}: advertised, but not approved on the coordination server yet "
            "(`gatepost admin routes`)",
            Level.INFO,
        )


def _way_out(netmap: NetMap) -> Iterator[Item]:
    """Let hosts of this site go out to the mesh and to the networks of other sites."""
    remote: set[IPNetwork] = {n for p in netmap.peers for n in p.routes if n.prefixlen > 0}
    for network in (MESH_V4, MESH_V6, *sorted(remote, key=str)):
        yield ForwardOut(network)
        yield ClampMss(network)
