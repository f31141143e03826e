"""From what plugins wish to what the kernel holds. No I/O.

Plugins speak of prefixes, admitted rules and destinations; the kernel knows peers
with their prefixes and one packet filter. `lower` gathers the first into the
second, and keeps the names of the plugins behind each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.engine.guard import guard_text
from gatepost.engine.kill_switch import kill_switch_text
from gatepost.engine.merge import Desired
from gatepost.model.guests import Guests
from gatepost.model.kernel import (
    Address,
    Admit,
    ClampMss,
    Forward,
    ForwardOut,
    Listen,
    Masquerade,
    MasqueradeOut,
    OnlyThroughMesh,
    PacketFilter,
    Route,
    Rule,
    Sender,
    Translate,
    WireGuardDevice,
    WireGuardPeer,
)
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.mesh import AllowedPrefix
from gatepost.model.netmap import IPNetwork
from gatepost.model.owned import (
    ALIAS_NETWORK,
    DEVICE,
    NFT_GUARD_TABLE,
    NFT_PROVIDER_TABLE,
    NFT_TABLE,
    PROVIDER_TABLE,
    TRANSLATION_ROOM,
    WIREGUARD_PORT,
)
from gatepost.model.renumber import Renumber
from gatepost.model.resolver import HostResolver, Upstream
from gatepost.model.resource import Level, Notice, Resource
from gatepost.model.tunnel import OnlyThroughTunnel, Tunnel

# What ends in the packet filter and has no other place.
FILTER_NOUNS = (
    Admit, Sender, Forward, ForwardOut, Masquerade, MasqueradeOut, Translate, ClampMss,
    Renumber, Guests,
)  # fmt: skip
GUARD_NOUNS = (OnlyThroughMesh, OnlyThroughTunnel)  # each is a table of its own
_ALL_BITS = 0xFFFFFFFF
_LONGER_HEADER = 20  # octets: IPv6 has 40, IPv4 20

R = TypeVar("R", bound=Resource)


def lower(desired: Desired) -> Desired:
    """Return the same wishes in the kernel's terms.

    `AllowedPrefix` goes into its `WireGuardPeer`; the filter's nouns, `Listen` in
    the mesh and the addresses become one `PacketFilter`. Everything else passes.
    A WireGuard device without any rule still gets a filter: one that lets nothing in.
    """
    resources: dict[Hashable, Resource] = {}
    owners = dict(desired.owners)
    notices = list(desired.notices)
    for key, resource in desired.resources.items():
        if not isinstance(resource, (AllowedPrefix, WireGuardPeer, *GUARD_NOUNS, *FILTER_NOUNS)):
            resources[key] = _canonical(resource)
    if _of(desired.resources, Translate):
        _make_room(resources)
    _follow_exit(resources)
    for route, names in _renumbered_beside(desired):
        resources.setdefault(route.key, route)
        owners[route.key] = owners.get(route.key, frozenset()) | names
    for peer, names in _peers(desired, notices):
        resources[peer.key] = peer
        owners[peer.key] = names
    for guard, table in _guards(desired.resources):
        resources[table.key] = table
        owners[table.key] = desired.owners.get(guard.key, frozenset())
    if _needs_filter(desired.resources):
        packet_filter, names = filter_of(desired)
        resources[packet_filter.key] = packet_filter
        owners[packet_filter.key] = names
    kept = {key: names for key, names in owners.items() if key in resources}
    return Desired(resources, kept, desired.watches, tuple(notices))


def _guards(resources: Mapping[Hashable, Resource]) -> Iterator[tuple[Resource, PacketFilter]]:
    # Whoever gave a server some names means that it is asked, also beside an exit.
    named = {
        a for u in _of(resources, Upstream) if u.suffix for s in u.servers for a in s.addresses
    }
    for guard in _of(resources, OnlyThroughMesh):
        asked = guard.asked | {a for a in named if any(a in n for n in guard.spared)}
        yield guard, PacketFilter(NFT_GUARD_TABLE, guard_text(replace(guard, asked=asked)))
    guests = {g.device for g in _of(resources, Guests)}
    pairs = _of(resources, Renumber)
    for switch in _of(resources, OnlyThroughTunnel):
        yield switch, PacketFilter(NFT_PROVIDER_TABLE, kill_switch_text(switch, guests, pairs))


def _renumbered_beside(desired: Desired) -> Iterator[tuple[Route, frozenset[str]]]:
    """Keep from a provider what goes to this site by another address.

    A packet is routed when it has the inner one already.
    """
    if _of(desired.resources, OnlyThroughTunnel):
        for pair in _of(desired.resources, Renumber):
            route = Route(PROVIDER_TABLE, pair.inside, kind="throw")
            yield route, desired.owners.get(pair.key, frozenset())


def _canonical(resource: Resource) -> Resource:
    """Write a value the way the kernel will read it back, so that the next round sees no change."""
    if isinstance(resource, (WireGuardDevice, Tunnel)):
        return replace(resource, private_key=clamp(resource.private_key))
    if isinstance(resource, Rule) and resource.mask == _ALL_BITS:
        return replace(resource, mask=None)
    return resource


def _follow_exit(resources: dict[Hashable, Resource]) -> None:
    """Let this machine ask here what plugins gave a server of its own, and nobody else for it.

    Where an exit answers for all names, it asks nobody beside it at all.
    """
    chosen = [u for u in _of(resources, Upstream) if u.rank != "last"]
    if not chosen:
        return
    suffixes = sorted({u.suffix for u in chosen if u.suffix})
    is_for_all = any(u.rank == "first" and not u.suffix for u in chosen)
    for host in _of(resources, HostResolver):
        resources[host.key] = replace(
            host,
            suffixes=tuple(dict.fromkeys((*host.suffixes, *suffixes))),
            is_for_all=host.is_for_all or is_for_all,
            spare=(),
        )


def _make_room(resources: dict[Hashable, Resource]) -> None:
    """Let fragments grow while they are translated, and nothing else be longer than before.

    4via6 needs the device to carry 8 octets more than its routes allow; and IPv4 that
    becomes IPv6 must leave 20 for the longer header.
    """
    for device in _of(resources, WireGuardDevice):
        resources[device.key] = replace(device, mtu=device.mtu + TRANSLATION_ROOM)
        for route in _of(resources, Route):
            if route.device == device.name and route.mtu is None:
                shorter = _LONGER_HEADER if route.destination == ALIAS_NETWORK else 0
                resources[route.key] = replace(route, mtu=device.mtu - shorter)


def clamp(key: NodePrivate) -> NodePrivate:
    """Return the key as X25519 uses it (RFC 7748, 5); WireGuard stores it so."""
    raw = bytearray(key.raw)
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return NodePrivate(bytes(raw))


def _peers(desired: Desired, notices: list[Notice]) -> list[tuple[WireGuardPeer, frozenset[str]]]:
    """Return the peers with their prefixes; a prefix of an unknown peer becomes a notice."""
    prefixes: dict[NodePublic, set[IPNetwork]] = {}
    names: dict[NodePublic, frozenset[str]] = {}
    for prefix in _of(desired.resources, AllowedPrefix):
        prefixes.setdefault(prefix.peer, set()).add(prefix.prefix)
        before = names.get(prefix.peer, frozenset[str]())
        names[prefix.peer] = before | desired.owners.get(prefix.key, frozenset())
    peers: list[tuple[WireGuardPeer, frozenset[str]]] = []
    for peer in _of(desired.resources, WireGuardPeer):
        gathered = peer.allowed | prefixes.pop(peer.public_key, frozenset[IPNetwork]())
        wanted_by = names.get(peer.public_key, frozenset[str]())
        wanted_by |= desired.owners.get(peer.key, frozenset())
        peers.append((replace(peer, allowed=frozenset(gathered)), wanted_by))
    for key, lost in sorted(prefixes.items()):
        text = ", ".join(sorted(str(p) for p in lost))
        plugins = ", ".join(sorted(names[key]))
        notices.append(
            Notice(
                "prefix-without-peer",
                f"{text}: {plugins} routes it to {key.short}, which is not a peer of this node",
                Level.WARNING,
            )
        )
    return peers


def _needs_filter(resources: Mapping[Hashable, Resource]) -> bool:
    return any(isinstance(r, (WireGuardDevice, *FILTER_NOUNS)) for r in resources.values())


def filter_of(desired: Desired) -> tuple[PacketFilter, frozenset[str]]:
    """Return the packet filter of the wishes, and the plugins behind it."""
    kinds = defaultdict[type[Resource], list[Any]](list)  # each the list of its own kind
    for resource in desired.resources.values():
        kinds[type(resource)].append(resource)
    wanted = (r for kind in (WireGuardDevice, *FILTER_NOUNS) for r in kinds[kind])
    named = (desired.owners.get(resource.key, frozenset[str]()) for resource in wanted)
    return PacketFilter(NFT_TABLE, filter_text(_wishes(kinds))), frozenset[str]().union(*named)


def _wishes(kinds: Mapping[type[Resource], list[Any]]) -> FilterWishes:
    # What only this machine may reach is no address of ours to anybody in the mesh.
    hidden = {a for p in kinds[Listen] if p.zone == "self" for a in p.addresses}
    devices: list[WireGuardDevice] = kinds[WireGuardDevice]
    device, port = (devices[0].name, devices[0].port) if devices else (DEVICE, WIREGUARD_PORT)
    return FilterWishes(
        device=device,
        port=port,
        own=[a.address for a in kinds[Address] if a.device == device and a.address not in hidden],
        carried=[p.prefix for p in kinds[AllowedPrefix]],
        admit=[a.rule for a in kinds[Admit]],
        senders=kinds[Sender],
        forward=[f.destination for f in kinds[Forward]],
        forward_out=[f.destination for f in kinds[ForwardOut]],
        masquerade=[m.destination for m in kinds[Masquerade]],
        masquerade_out=[m.source for m in kinds[MasqueradeOut]],
        translated=[t.inside for t in kinds[Translate]],
        renumbered=kinds[Renumber],
        guests=kinds[Guests],
        clamp=[c.destination for c in kinds[ClampMss]],
        listen=kinds[Listen],
    )


def _of(resources: Mapping[Hashable, Resource], kind: type[R]) -> list[R]:
    return [r for r in resources.values() if isinstance(r, kind)]
