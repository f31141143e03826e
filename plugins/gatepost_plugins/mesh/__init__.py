"""The WireGuard device, its peers, and the routes to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatepost.api import (
    MESH_V4,
    MESH_V6,
    Address,
    AllowedPrefix,
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
    learned = observed.get(WatchRouting(), RoutingState()).learned
    attached = (*attached, *(route.network for route in learned))
    yield from _routes(netmap, peers, settings, attached)
    yield from _rules()


def _routes(
    netmap: NetMap, peers: tuple[Node, ...], settings: Settings, attached: tuple[IPNetwork, ...]
) -> Iterator[Item]:
    source = {a.version: a for a in netmap.me.addresses}
    mine = set(netmap.me.routes)
    choice = RouteChoice(only=settings.accept_only or None, refused=settings.accept_except)
    wanted: set[IPNetwork] = {MESH_V4, MESH_V6}
    for peer in peers:
        for prefix in peer.allowed:
            if peer.owns(prefix):
                is_route = False
            elif settings.accept_routes and prefix.prefixlen > 0 and prefix not in mine:
                if not choice.takes(prefix):
                    continue
                is_route = True
            else:
                continue
            yield AllowedPrefix(prefix, peer.key)
            if is_route or any(_holds(network, prefix) for network in attached):
                wanted.add(prefix)
    # Our table is asked before the main one, so a remote network that holds a network this
    # machine is attached to would take it away. "throw" sends the lookup on to the main table.
    kept = {network for network in attached if any(_holds(prefix, network) for prefix in wanted)}
    yield from (Route(owned.ROUTE_TABLE, network, kind="throw") for network in kept)
    for prefix in wanted - kept:
        if prefix.version in source:
            yield Route(owned.ROUTE_TABLE, prefix, owned.DEVICE, source=source[prefix.version])


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
