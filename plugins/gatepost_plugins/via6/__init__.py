"""Carries traffic from the mesh to IPv4 networks that exist at several sites.

Each site has a number, and an IPv6 prefix made of that and of the IPv4 network stands for
it in the mesh. Programs in the kernel translate; what they need to know is made here. To
the packet filter a peer is its alias, so what the policy says about the prefix is said
again about aliases and IPv4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from gatepost.api import (
    ACCEPT_RA,
    MESH_V4,
    Admit,
    Advertise,
    ClampMss,
    ForwardOut,
    IPNetwork,
    Item,
    KnownAs,
    Level,
    NameServer,
    NetMap,
    Node,
    Notice,
    Observed,
    PluginInfo,
    Route,
    Translate,
    WatchFact,
    about,
    forwarding,
    hookimpl,
    owned,
    parse_name_server,
    read_suffix,
    site_names,
    via6,
    why_never_behind,
)
from gatepost_plugins.via6.grants import grants
from gatepost_plugins.via6.programs import programs

BPF = WatchFact("bpf")  # why the kernel takes no program, nothing if it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    site: int | None = field(
        default=None,
        metadata=about(
            "Site",
            "A number of your choice; each site with the same addresses needs another one.",
            minimum=0,
            maximum=via6.LAST_SITE,
        ),
    )
    networks: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about("Networks", "IPv4 networks behind this box, such as 192.168.1.0/24."),
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
        _ = self.suffixes(), self.servers()

    def suffixes(self) -> tuple[str, ...]:
        return tuple(read_suffix(domain) for domain in self.domains)

    def servers(self) -> tuple[NameServer, ...]:
        return tuple(parse_name_server(server) for server in self.name_servers)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Overlapping networks (4via6)",
        summary="Lets the mesh reach IPv4 networks here that other sites have too.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield BPF
    yield ACCEPT_RA
    if not settings.networks:
        return
    if settings.site is None:
        yield Notice("via6-site", "this site has no number yet: gatepost plugin set via6 site=7")
        return
    if trouble := observed.get(BPF, ""):
        yield Notice(
            "via6-kernel", f"nothing is advertised, as this kernel cannot translate: {trouble}"
        )
        return
    yield from _site(netmap, settings.site, settings.networks, observed)
    yield from _names(settings)


def _names(settings: Settings) -> Iterator[Item]:
    if settings.domains and settings.name_servers:
        yield from site_names(settings.suffixes(), settings.servers())
    elif settings.domains:
        yield Notice(
            "no-name-server",
            f"{', '.join(settings.domains)}: nobody is named who answers for it here: "
            "gatepost plugin set via6 name-servers=192.168.1.1",
        )


def _site(
    netmap: NetMap, site: int, networks: tuple[IPNetwork, ...], observed: Observed
) -> Iterator[Item]:
    offered = list[IPv4Network]()
    for network in networks:
        if reason := unfit(network):
            yield Notice("network-refused", f"{network} is not advertised: {reason}", Level.ERROR)
        elif isinstance(network, IPv4Network):
            offered.append(network)
            yield Advertise(via6.via_prefix(site, network))
    waiting = [n for n in offered if via6.via_prefix(site, n) not in netmap.me.allowed]
    if waiting:
        names = ", ".join(f"{via6.via_prefix(site, n)} ({n})" for n in waiting)
        yield Notice(
            "route-not-approved",
            f"{names}: advertised, but not approved on the coordination server yet "
            "(`gatepost admin routes`)",
            Level.INFO,
        )
    if approved := tuple(n for n in offered if n not in waiting):
        yield from _translated(netmap, site, approved)
        yield from _way_out()
    yield from forwarding({4, 6} if approved else set(), observed.get(ACCEPT_RA, ""))


def _way_out() -> Iterator[Item]:
    """Let hosts here go to other numbered sites; what no peer carries goes nowhere.

    Without the route such packets would leave by this machine's ordinary way out.
    """
    yield ForwardOut(via6.PREFIX)
    yield ClampMss(via6.PREFIX)
    yield Route(owned.ROUTE_TABLE, via6.PREFIX, kind="unreachable")


def _translated(netmap: NetMap, site: int, networks: tuple[IPv4Network, ...]) -> Iterator[Item]:
    peers = tuple(p for p in netmap.peers if not p.expired)
    aliases = aliases_of(peers)
    if without := [p.label for p in peers if not any(a in aliases for a in p.addresses)]:
        yield Notice(
            "via6-no-alias",
            f"{', '.join(without)}: cannot reach {', '.join(map(str, networks))}, for want of "
            "an address in the mesh of both IP versions",
        )
    for network in networks:
        yield Translate(via6.via_prefix(site, network), network)
        yield KnownAs(network, via6.via_prefix(site, network))
        yield ClampMss(network)
    yield from (Admit(rule) for rule in grants(netmap.filter or (), site, networks, aliases))
    yield Route(owned.ROUTE_TABLE, owned.ALIAS_NETWORK, owned.DEVICE)
    yield from programs(site, networks, aliases)


def aliases_of(peers: tuple[Node, ...]) -> Mapping[IPv6Address, IPv4Address]:
    """Return the alias of each peer's first IPv6 address: its IPv4 address in the mesh, moved.

    So it never changes, whoever comes and goes, and an answer never reaches another peer.
    """
    move = int(owned.ALIAS_NETWORK.network_address) - int(MESH_V4.network_address)
    aliases = dict[IPv6Address, IPv4Address]()
    for peer in peers:
        six = next((a for a in peer.addresses if isinstance(a, IPv6Address)), None)
        four = next((a for a in peer.addresses if isinstance(a, IPv4Address)), None)
        if six is not None and four is not None and four in MESH_V4:
            aliases[six] = IPv4Address(int(four) + move)
    return aliases


def unfit(network: IPNetwork) -> str:
    """Say why a network cannot be reached by translation; nothing if it can."""
    if not isinstance(network, IPv4Network):
        return "IPv6 needs no translation; give it to the subnet router"
    return why_never_behind(network)
