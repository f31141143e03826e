"""Offers this box as a way to the internet, and sends packets out through another one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

from gatepost.api import (
    ACCEPT_RA,
    EVERYWHERE,
    AllowedPrefix,
    ClampMss,
    ForwardOut,
    IPAddress,
    IPNetwork,
    Item,
    Level,
    LocalNetworks,
    MasqueradeOut,
    NameServer,
    NetMap,
    Node,
    Notice,
    Observed,
    OnlyThroughMesh,
    PluginInfo,
    Route,
    Rule,
    Upstream,
    WatchLocalNetworks,
    WatchPeerApi,
    about,
    forwarding,
    hookimpl,
    offered_exit,
    owned,
    parse_name_server,
)

DNS_PATH = "/dns-query"  # of the peer API; RFC 8484
MOST_NETWORKS = len(owned.EXIT_PRIORITIES) - 1  # each has a rule of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    offer: bool = field(
        default=False,
        metadata=about("Offer this box", "Let others go out to the internet through this box."),
    )
    use: str = field(
        default="",
        metadata=about("Use", "The exit node to go out through: its name or address in the mesh."),
    )
    allow_lan: bool = field(
        default=True,
        metadata=about("Allow the LAN", "Reach the networks this box is attached to as ever."),
    )
    fail_closed: bool = field(
        default=True,
        metadata=about(
            "Fail closed", "While the exit node is away nothing goes out; off: the normal way."
        ),
    )
    networks: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Networks", "Networks or devices behind this box that go out through it, too."
        ),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Exit node",
        summary="Offers this box as a way to the internet, or goes out through another one.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield ACCEPT_RA
    yield WatchLocalNetworks()
    yield WatchPeerApi()
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    versions = set[int]()
    if settings.offer:
        versions |= {p.version for p in EVERYWHERE if p in netmap.me.allowed}
        yield from offered_exit(netmap, attached, observed.get(WatchPeerApi(), 0))
    if settings.use:
        yield from _use(netmap, settings, attached)
        versions |= {n.version for n in settings.networks}
    yield from forwarding(versions, observed.get(ACCEPT_RA, ""))


# --- for this box and what is behind it -------------------------------------------------


def _use(netmap: NetMap, settings: Settings, attached: tuple[IPNetwork, ...]) -> Iterator[Item]:
    behind = settings.networks[:MOST_NETWORKS]
    if len(settings.networks) > MOST_NETWORKS:
        yield Notice(
            "too-many-exit-networks",
            f"only the first {MOST_NETWORKS} of {len(settings.networks)} networks go out through "
            "the exit node: name larger ones",
            Level.ERROR,
        )
    peer, complaint = _find(netmap, settings.use)
    if complaint:
        yield Notice("exit-unavailable", complaint, Level.ERROR)
    spared = frozenset(attached) if settings.allow_lan else frozenset(behind)
    if not settings.fail_closed and (peer is None or peer.online is False):
        return
    if settings.fail_closed:
        yield OnlyThroughMesh(
            device=owned.DEVICE,
            behind=frozenset(behind),
            spared=spared,
            asked=_asked_beside(netmap, spared),
        )
    yield from _resolving(netmap, peer, spared)
    for prefix in EVERYWHERE:
        if peer is not None:
            yield AllowedPrefix(prefix, peer.key)
        yield _way_out(netmap, prefix, is_there=peer is not None)
    yield from (Route(owned.EXIT_TABLE, network, kind="throw") for network in _in_order(spared))
    yield from _rules(behind)
    for network in behind:
        yield ForwardOut(ip_network("0.0.0.0/0" if network.version == 4 else "::/0"))  # noqa: PLR2004  # the version of IP
        yield MasqueradeOut(network)
        yield ClampMss(network)


def _resolving(netmap: NetMap, peer: Node | None, spared: Collection[IPNetwork]) -> Iterator[Item]:
    """Ask the exit node itself for names, or through it who answers anywhere.

    Nobody at all is asked while there is no exit, or when nobody is named but who is in
    the networks around: they would learn every name.
    """
    servers: tuple[NameServer, ...] = ()
    place = netmap.peer_api(peer) if peer is not None and peer.services.names else None
    if place is not None:
        servers = (parse_name_server(f"http://{place}{DNS_PATH}"),)
    elif peer is not None:
        usual = next((r.servers for r in netmap.dns.routes if not r.suffix), ())
        servers = tuple(s for s in usual or netmap.dns.fallback if not _is_among(s, spared))
        if not servers:
            yield Notice(
                "exit-names",
                f"exit node {peer.label} answers no questions for names, and the coordination "
                "server names nobody who could be asked through it: names of the internet are "
                "not resolved",
            )
    yield Upstream(suffix="", servers=servers, rank="first")


def _asked_beside(netmap: NetMap, spared: Collection[IPNetwork]) -> frozenset[IPAddress]:
    """Return the name servers around that the administrator has given some names to."""
    named = (s for route in netmap.dns.routes if route.suffix for s in route.servers)
    return frozenset(a for s in named for a in s.addresses if any(a in n for n in spared))


def _is_among(server: NameServer, networks: Collection[IPNetwork]) -> bool:
    return any(address in network for address in server.addresses for network in networks)


def _way_out(netmap: NetMap, prefix: IPNetwork, *, is_there: bool) -> Route:
    source = {a.version: a for a in netmap.me.addresses}.get(prefix.version)
    if not is_there or source is None:
        return Route(owned.EXIT_TABLE, prefix, kind="blackhole")
    return Route(owned.EXIT_TABLE, prefix, owned.DEVICE, source=source)


def _rules(behind: Iterable[IPNetwork]) -> Iterator[Rule]:
    """Send this box's own packets and those from behind it to the exit's table.

    What carries the mesh itself has a mark, and only what has none is meant: a rule that
    is turned round ("not marked") would be so as a whole, and mean all that is forwarded.
    """
    first, *rest = owned.EXIT_PRIORITIES
    for family in (4, 6):
        yield Rule(
            family=family,
            priority=first,
            table=owned.EXIT_TABLE,
            mark=0,
            mask=owned.MARK_MASK,
            own=True,
        )
    for priority, network in zip(rest, behind, strict=False):
        yield Rule(
            family=4 if network.version == 4 else 6,  # noqa: PLR2004  # the version of IP
            priority=priority,
            table=owned.EXIT_TABLE,
            mark=0,
            mask=owned.MARK_MASK,
            source=network,
        )


def _find(netmap: NetMap, wanted: str) -> tuple[Node | None, str]:
    """Return the peer that is meant, if it can be used, and what is wrong if anything is."""
    found = [p for p in netmap.peers if p.is_called(wanted)]
    if not found:
        return None, f"exit node {wanted}: no node of the mesh has this name or address"
    if len(found) > 1:
        return None, f"exit node {wanted}: {len(found)} nodes are called so: give its address"
    peer = found[0]
    missing = [str(p) for p in EVERYWHERE if p not in peer.allowed]
    if peer.expired:
        return None, f"exit node {wanted}: its login has expired"
    if len(missing) == len(EVERYWHERE):
        return None, (
            f"exit node {wanted}: it is no exit node for this box: it must offer itself "
            "(`gatepost set --advertise-exit-node`), be approved, and the policy must let us"
        )
    if missing:
        return peer, f"exit node {wanted}: it offers nothing for {missing[0]}, which goes nowhere"
    return peer, "" if peer.online is not False else f"exit node {wanted}: it is offline"


def _in_order(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    return sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
