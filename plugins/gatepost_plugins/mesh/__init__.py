"""The WireGuard device, its peers, and the routes to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gatepost.api import (
    MESH_V4,
    MESH_V6,
    Address,
    AllowedPrefix,
    Each,
    IPAddress,
    IPNetwork,
    Item,
    LocalNetworks,
    NetMap,
    Node,
    NodeFacts,
    Notice,
    Observed,
    PluginInfo,
    Route,
    RouteChoice,
    RoutingState,
    Rule,
    WatchLocalNetworks,
    WatchNodeFacts,
    WatchPeerApi,
    WatchRouting,
    WireGuardDevice,
    WireGuardPeer,
    about,
    hookimpl,
    owned,
    peer_api,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    accept_routes: bool = field(
        default=False,
        metadata=about("Accept routes", "Reach the networks that other boxes carry traffic for."),
    )
    accept_only: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Only these", "Of the accepted networks use these and narrower ones; empty is all."
        ),
    )
    accept_except: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about("Not these", "Of the accepted networks never use these and narrower ones."),
    )
    mtu: int = field(
        default=owned.MTU,
        metadata=about("MTU", "Octets inside the tunnel.", minimum=1280, maximum=65455),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Mesh",
        summary="The encrypted tunnel to the other machines and the routes into it.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchNodeFacts()
    yield WatchLocalNetworks()
    facts: NodeFacts | None = observed.get(WatchNodeFacts(), None)
    if facts is None or facts.private_key.public != netmap.me.key:
        yield Notice("no-key", "this box has no key that fits its entry in the mesh: log in again")
        return
    yield WireGuardDevice(
        name=owned.DEVICE,
        private_key=facts.private_key,
        port=facts.port,
        mark=owned.MARK,
        mtu=settings.mtu,
    )
    yield from (Address(owned.DEVICE, address) for address in netmap.me.addresses)
    yield WatchPeerApi()
    yield from peer_api(netmap.me.addresses, observed.get(WatchPeerApi(), 0))
    peers = tuple(p for p in netmap.peers if not p.expired and not p.key.is_zero)
    for peer in peers:
        yield WireGuardPeer(device=owned.DEVICE, public_key=peer.key)
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    # What the LAN's own routers lead to is as near as what this machine is attached to.
    learned = {route.network for route in observed.get(WatchRouting(), RoutingState()).learned}
    attached = (*attached, *_contested(learned, peers))
    yield from _routes(netmap, peers, settings, attached)
    yield from _rules()


def _contested(learned: Collection[IPNetwork], peers: tuple[Node, ...]) -> Iterator[IPNetwork]:
    """Keep what lies in a network of another site; a thousand of the LAN may be in none."""
    if not learned:
        return
    offered = {prefix for peer in peers for prefix in peer.allowed}
    lengths = {(prefix.version, prefix.prefixlen) for prefix in offered}
    for network in sorted(learned, key=str):
        outer = (n for v, n in lengths if v == network.version and 0 < n <= network.prefixlen)
        if any(network.supernet(new_prefix=n) in offered for n in outer):
            yield network


def _routes(
    netmap: NetMap, peers: tuple[Node, ...], settings: Settings, attached: tuple[IPNetwork, ...]
) -> Iterator[Item]:
    given = _Given(
        settings=settings,
        attached=attached,
        mine=frozenset(netmap.me.routes),
        addresses=netmap.me.addresses,
    )
    found = [_of_mesh(given), *_of_each(peers, given)]
    for one in found:
        yield from one.items
    # Our table is asked before the main one, so a remote network that holds a network this
    # machine is attached to would take it away. "throw" sends the lookup on to the main table.
    kept = frozenset[IPNetwork]().union(*(one.kept for one in found))
    yield from (Route(owned.ROUTE_TABLE, network, kind="throw") for network in kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What decides about the prefixes of every peer; `mine` are our own routes."""

    settings: Settings
    attached: tuple[IPNetwork, ...]
    mine: frozenset[IPNetwork]
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """Wishes, and the networks of this machine that lie in what they route into the mesh."""

    items: tuple[Item, ...]
    kept: frozenset[IPNetwork]


def _of_mesh(given: _Given) -> _Found:
    return _routed((), (MESH_V4, MESH_V6), given)


def _of_peer(peer: Node, given: _Given) -> _Found:
    settings = given.settings
    choice = RouteChoice(only=settings.accept_only or None, refused=settings.accept_except)
    allowed: list[Item] = []
    wanted: list[IPNetwork] = []
    for prefix in peer.allowed:
        is_own = peer.owns(prefix)
        if not is_own:
            is_network = prefix.prefixlen > 0 and prefix not in given.mine
            if not (settings.accept_routes and is_network and choice.takes(prefix)):
                continue
        allowed.append(AllowedPrefix(prefix, peer.key))
        if not is_own or any(_holds(network, prefix) for network in given.attached):
            wanted.append(prefix)
    return _routed(allowed, wanted, given)


_of_each = Each(_of_peer)


def _routed(items: Iterable[Item], wanted: Sequence[IPNetwork], given: _Given) -> _Found:
    """Route `wanted` into the mesh, but for networks that this machine is attached to."""
    source = {a.version: a for a in given.addresses}
    attached = frozenset(given.attached)
    routes = (
        Route(owned.ROUTE_TABLE, prefix, owned.DEVICE, source=source[prefix.version])
        for prefix in wanted
        if prefix.version in source and prefix not in attached
    )
    kept = frozenset(n for n in attached if any(_holds(prefix, n) for prefix in wanted))
    return _Found((*items, *routes), kept)


def _holds(outer: IPNetwork, inner: IPNetwork) -> bool:
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer
    )


def _rules() -> Iterator[Item]:
    """Look into our table first, except for our own encrypted packets and control connections.

    Nor for answers to who came beside the mesh, as long as the main table knows a way. Encrypted
    packets look first whether they must be cut to reach a peer (`linux.narrow_paths`).
    """
    for family in (4, 6):
        yield Rule(
            family=family,
            priority=owned.NARROW_PRIORITY,
            table=owned.NARROW_TABLE,
            mark=owned.MARK,
        )
        yield Rule(
            family=family,
            priority=owned.ANSWER_PRIORITY,
            table=owned.MAIN_TABLE,
            mark=owned.ANSWER_MARK,
            mask=owned.MARK_MASK,
        )
        yield Rule(
            family=family,
            priority=owned.MESH_PRIORITY,
            table=owned.ROUTE_TABLE,
            mark=owned.MARK,
            mask=owned.MARK_MASK,
            invert=True,
        )
