"""Joins encoded nodes into messages: the first one, and what changed since.

Most viewers get equal bytes, so a message is made once per (old world, new
world, group of equal rights) and once more for each viewer that is itself among
what changed. The work of a change is what changed, plus one comparison of
object identities per node, once for all viewers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from gatepost.coordination import mapper
from gatepost.coordination.apps import Connector, app_routes, connectors
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.name_settings import dns_config
from gatepost.coordination.sight import PLAIN, Group, Sight, group_of
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.model.keys import MachinePublic, NodePublic
from gatepost.policy.directory import Machines
from gatepost.policy.filters import Filter
from gatepost.policy.intervals import bits, bits_of
from gatepost.policy.relays import relays
from gatepost.wire.derp_map import DerpMap
from gatepost.wire.go_json import write_json
from gatepost.wire.map_frames import write_frame
from gatepost.wire.netmap import FilterRule, MapResponse

Items = Callable[[World, Node], Iterable[MapItem]]  # what plugins tell a node


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What viewers of one group must learn between two worlds; values are JSON by node id."""

    removed: tuple[int, ...] = ()
    changed: dict[int, bytes] = field(default_factory=dict[int, bytes])
    patched: dict[int, bytes] = field(default_factory=dict[int, bytes])
    profiles: bytes = b""
    rules: bytes = b""

    def is_about(self, node_id: int) -> bool:
        """Say whether this is about a node; each of those gets a message without itself."""
        return node_id in self.patched or node_id in self.changed or node_id in self.removed


class Messages:
    """Makes messages and remembers their parts as long as they can be of use."""

    def __init__(self, mesh: Mesh, items: Items) -> None:
        self._mesh = mesh
        self._items = items
        self._plain: dict[int, tuple[Node, bytes]] = {}
        self._odd: dict[int, tuple[Node, dict[Sight, bytes]]] = {}
        self._differences: dict[Hashable, Difference] = {}
        self._shared: dict[Hashable, bytes] = {}
        self._groups: dict[int, dict[int, Group]] = {}  # by generation and viewer
        self._moved: dict[int, Machines] = {}  # by the old world's generation
        self._connectors: dict[int, tuple[Connector, ...]] = {}  # by generation
        self._latest = -1

    def first(self, world: World, viewer: int, now: float, compress: str) -> bytes:
        """Return the frame with the whole map of a viewer that is in the world."""
        node = world.nodes[viewer]
        group = group_of(world, viewer)
        peers = [n for n in _nodes(world, group.visible) if n is not node]
        parts = [
            b'"Node":' + self._self_json(world, node),
            _members(write_json(self._settings(world, viewer, now))),
            b'"UserProfiles":' + write_json(mapper.profiles(world, (node, *peers))),
            b'"PacketFilters":' + _filter_json({}, {"base": (), **group.filter()}),
            _ssh_json(world, viewer),
        ]
        if peers:
            odd = group.odd
            encoded = [
                self._peer_json(n, group.sight(n.id) if odd >> n.record.id & 1 else PLAIN)
                for n in peers
            ]
            parts.append(b'"Peers":[' + b",".join(encoded) + b"]")
        return write_frame(_message(parts), compress)

    def eviction(
        self, key: NodePublic, machine: MachinePublic, node_id: int, compress: str
    ) -> bytes:
        """Return the frame that sends a client to its login: its node key is no longer valid."""
        node = write_json(mapper.evicted(key, machine, node_id))
        return write_frame(_message([b'"Node":' + node]), compress)

    def between(self, old: World, new: World, viewer: int, key: NodePublic, compress: str) -> bytes:
        """Return the frame with what a viewer in both worlds must learn; b"" if nothing.

        `key` is the node key with which it opened its stream. While a client
        renews its key, the stream of the old one goes on; it is told nothing
        about the new self, which is not its own.
        """
        self._forget(new)
        groups = self._two_groups(old, new, viewer)
        place = old.generation, *groups
        difference = self._differences.get(place)
        if difference is None:
            difference = self._difference(old, new, groups)
            self._differences[place] = difference
        is_own = key == new.nodes[viewer].record.key
        own = self._own_change(old, new, viewer) if is_own else []
        own += self._names_change(old, new, viewer) if is_own else []
        if not own and not difference.is_about(viewer):
            frame = self._shared.get((compress, *place))
            if frame is None:
                frame = _frame(_message(_parts(difference)), compress)
                self._shared[compress, *place] = frame
            return frame
        return _frame(_message([*own, *_parts(_without(difference, viewer))]), compress)

    def _forget(self, new: World) -> None:
        if new.generation != self._latest:
            newest = self._groups.get(self._latest, {})  # most viewers know that world
            self._groups = {self._latest: newest, new.generation: {}}
            self._latest = new.generation
            self._differences.clear()
            self._shared.clear()
            self._moved.clear()
            self._connectors.clear()
            if len(self._plain) > len(new.nodes) + len(new.nodes) // 4:
                self._plain = {i: p for i, p in self._plain.items() if i in new.nodes}
            if len(self._odd) > len(new.nodes):
                self._odd = {i: p for i, p in self._odd.items() if i in new.nodes}

    def _two_groups(self, old: World, new: World, viewer: int) -> tuple[Group, Group]:
        """Return the groups in two worlds; mostly nothing that groups depend on has changed."""
        before = self._group(old, viewer)
        is_same = old.rights is new.rights and old.precedence is new.precedence
        one, other = old.nodes[viewer], new.nodes[viewer]
        is_same = is_same and one.presence.expired == other.presence.expired
        if is_same and one.record.accepts == other.record.accepts:
            self._groups[new.generation][viewer] = before
            return before, before
        return before, self._group(new, viewer)

    def _group(self, world: World, viewer: int) -> Group:
        known = self._groups.get(world.generation)
        if known is None:
            return group_of(world, viewer)
        found = known.get(viewer)
        if found is None:
            found = group_of(world, viewer)
            known[viewer] = found
        return found

    def _difference(self, old: World, new: World, groups: tuple[Group, Group]) -> Difference:
        before, after = groups
        added = after.visible & ~before.visible
        both = after.visible & before.visible
        moved = both & (self._moved_between(old, new) | before.differs_in(after))
        changed: dict[int, bytes] = {}
        patched: dict[int, bytes] = {}
        for i in bits(added | moved):
            patch = None
            if moved >> i & 1:
                patch = self._patch(old.nodes[i], before.sight(i), new.nodes[i], after.sight(i))
            if patch is None:
                changed[i] = self._peer_json(new.nodes[i], after.sight(i))
            elif patch:
                patched[i] = patch
        return Difference(
            removed=tuple(bits(before.visible & ~after.visible)),
            changed=changed,
            patched=patched,
            profiles=self._profiles(old, new, before.visible, [new.nodes[i] for i in changed]),
            rules=_filter_change(before, after),
        )

    def _moved_between(self, old: World, new: World) -> Machines:
        """Return the nodes that are not the same object in both worlds."""
        found = self._moved.get(old.generation)
        if found is None:
            known = old.nodes
            found = bits_of(i for i, n in new.nodes.items() if known.get(i) is not n)
            self._moved[old.generation] = found
        return found

    def _patch(self, old: Node, old_sight: Sight, new: Node, new_sight: Sight) -> bytes | None:
        """Return the small change as JSON, b"" if peers see no change, None if it is not small."""
        before = mapper.peer(old, self._mesh, old_sight)
        after = mapper.peer(new, self._mesh, new_sight)
        if before == after:
            return b""
        change = mapper.patch(before, after)
        return None if change is None else write_json(change)

    def _profiles(self, old: World, new: World, before: Machines, changed: list[Node]) -> bytes:
        """Return users that no node belonged to before, and those that changed themselves."""
        wanted = {mapper.profile_id(n) for n in changed}
        if wanted:
            wanted -= {mapper.profile_id(n) for n in _nodes(old, before)}
        if old.records.users is not new.records.users:
            known = old.records.users
            wanted |= {i for i, u in new.records.users.items() if i in known and known[i] is not u}
        if not wanted:
            return b""
        return write_json([mapper.profile(new.records.users, i) for i in sorted(wanted)])

    def _own_change(self, old: World, new: World, viewer: int) -> list[bytes]:
        """Return what a viewer must learn about itself, as members of the message."""
        is_same_node = old.nodes[viewer] is new.nodes[viewer]
        one, other = old.rights.compiled, new.rights.compiled
        if is_same_node and one is other:
            return []
        found: list[bytes] = []
        if old.rights.policy.derp_map != new.rights.policy.derp_map:
            found.append(b'"DERPMap":' + write_json(self._relays(new)))
        if not (is_same_node and one.attributes.is_same(other.attributes, viewer)):
            before = self._self_json(old, old.nodes[viewer])
            after = self._self_json(new, new.nodes[viewer])
            found += [b'"Node":' + after] if before != after else []
        ssh = _ssh_json(new, viewer)
        if ssh != _ssh_json(old, viewer):
            found.append(ssh or b'"SSHPolicy":{"rules":[]}')
        return found

    def _settings(self, world: World, viewer: int, now: float) -> MapResponse:
        apps = app_routes(world, self._connectors_of(world), viewer)
        names = dns_config(world.records.names, self._mesh.domain, apps)
        return mapper.settings_of(self._mesh, self._relays(world), names, now)

    def _names_change(self, old: World, new: World, viewer: int) -> list[bytes]:
        """Return how names are resolved, if a viewer must ask others than before."""
        one, other = self._connectors_of(old), self._connectors_of(new)
        is_same = old.records.names is new.records.names
        is_about_apps = bool(one or other) and (one != other or old.rights is not new.rights)
        if is_same and not is_about_apps:
            return []
        apps = app_routes(new, other, viewer)
        if is_same and apps == app_routes(old, one, viewer):
            return []
        names = dns_config(new.records.names, self._mesh.domain, apps)
        return [b'"DNSConfig":' + write_json(names)]

    def _connectors_of(self, world: World) -> tuple[Connector, ...]:
        found = self._connectors.get(world.generation)
        if found is None:
            found = connectors(world)
            self._connectors[world.generation] = found
        return found

    def _relays(self, world: World) -> DerpMap:
        return relays(world.rights.policy, self._mesh.derp_map)

    def _self_json(self, world: World, node: Node) -> bytes:
        compiled = world.rights.compiled
        return write_json(mapper.myself(node, self._mesh, compiled, self._items(world, node)))

    def _peer_json(self, node: Node, sight: Sight) -> bytes:
        if sight is not PLAIN:
            return self._odd_json(node, sight)
        kept = self._plain.get(node.record.id)
        if kept is not None and kept[0] is node:
            return kept[1]
        encoded = write_json(mapper.peer(node, self._mesh, PLAIN))
        self._plain[node.record.id] = node, encoded
        return encoded

    def _odd_json(self, node: Node, sight: Sight) -> bytes:
        kept = self._odd.get(node.id)
        if kept is None or kept[0] is not node:
            kept = node, dict[Sight, bytes]()
            self._odd[node.id] = kept
        encoded = kept[1].get(sight)
        if encoded is None:
            encoded = write_json(mapper.peer(node, self._mesh, sight))
            kept[1][sight] = encoded
        return encoded


def _nodes(world: World, wanted: Machines) -> Iterable[Node]:
    """Return nodes by id; mostly all are wanted, so that goes without looking for each."""
    if wanted == world.rights.compiled.directory.everyone:
        return world.nodes.values()
    return [world.nodes[i] for i in bits(wanted)]


def _ssh_json(world: World, viewer: int) -> bytes:
    """Return who may sign in to a node, b"" for one that offers no SSH or has no rules."""
    if not world.nodes[viewer].report.hostinfo.ssh_host_keys:
        return b""
    rules = world.rights.compiled.ssh_rules(viewer)
    return b"" if rules is None else b'"SSHPolicy":' + write_json({"rules": rules})


def _filter_change(before: Group, after: Group) -> bytes:
    """Return the parts of the filter that are new, and null for those that are gone."""
    if before.filter_key == after.filter_key:
        return b""
    return _filter_json(before.filter(), after.filter())


def _filter_json(before: Filter, after: Filter) -> bytes:
    """Return the parts that differ as JSON, b"" if none does."""
    parts: dict[str, tuple[FilterRule, ...] | None] = {}
    parts.update(dict.fromkeys(before.keys() - after.keys()))
    parts.update({k: rules for k, rules in after.items() if before.get(k) != rules})
    return write_json(parts) if parts else b""


def _parts(difference: Difference) -> list[bytes]:
    parts: list[bytes] = []
    if difference.removed:
        parts.append(b'"PeersRemoved":' + write_json(difference.removed))
    if difference.changed:
        parts.append(b'"PeersChanged":[' + b",".join(difference.changed.values()) + b"]")
    if difference.patched:
        parts.append(b'"PeersChangedPatch":[' + b",".join(difference.patched.values()) + b"]")
    if difference.profiles:
        parts.append(b'"UserProfiles":' + difference.profiles)
    if difference.rules:
        parts.append(b'"PacketFilters":' + difference.rules)
    return parts


def _without(difference: Difference, viewer: int) -> Difference:
    return Difference(
        removed=tuple(i for i in difference.removed if i != viewer),
        changed={i: j for i, j in difference.changed.items() if i != viewer},
        patched={i: j for i, j in difference.patched.items() if i != viewer},
        profiles=difference.profiles,
        rules=difference.rules,
    )


def _frame(message: bytes, compress: str) -> bytes:
    return write_frame(message, compress) if message else b""


def _message(parts: Iterable[bytes]) -> bytes:
    """Return one JSON object of its members; b"" if there are none."""
    joined = b",".join(p for p in parts if p)
    return b"{" + joined + b"}" if joined else b""


def _members(json: bytes) -> bytes:
    """Return what stands between the braces of a JSON object."""
    return json[1:-1]
