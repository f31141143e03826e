"""Joins encoded nodes into messages: the first one, and what changed since.

Most viewers get equal bytes, so a message is made once per (old world, new
world, group of the policy) and once more for each viewer that is itself among
what changed. The work of a change is what changed plus one comparison of
object identities per node.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from gatepost.coordination import mapper
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.policy.everybody import Policy
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.model.keys import MachinePublic, NodePublic
from gatepost.wire.go_json import write_json
from gatepost.wire.map_frames import write_frame

Items = Callable[[World, Node], Iterable[MapItem]]  # what plugins tell a node


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What viewers of one group must learn between two worlds; values are JSON by node id."""

    removed: tuple[int, ...] = ()
    changed: dict[int, bytes] = field(default_factory=dict[int, bytes])
    patched: dict[int, bytes] = field(default_factory=dict[int, bytes])
    profiles: bytes = b""
    rules: bytes = b""

    @property
    def subjects(self) -> frozenset[int]:
        """The nodes that this is about; each of them gets a message without itself."""
        return frozenset((*self.removed, *self.changed, *self.patched))


class Messages:
    """Makes messages and remembers their parts as long as they can be of use."""

    def __init__(self, mesh: Mesh, policy: Policy, items: Items) -> None:
        self._mesh = mesh
        self._policy = policy
        self._items = items
        self._peers: dict[int, tuple[Node, bytes]] = {}
        self._differences: dict[Hashable, Difference] = {}
        self._shared: dict[Hashable, bytes] = {}
        self._latest = -1

    def first(self, world: World, viewer: int, now: float, compress: str) -> bytes:
        """Return the frame with the whole map of a viewer that is in the world."""
        node = world.nodes[viewer]
        group = self._policy.group(world, node)
        peers = [n for n in self._visible(world, group) if n.id != viewer]
        parts = [
            b'"Node":' + self._self_json(world, node),
            _members(write_json(mapper.settings_of(self._mesh, now))),
            b'"UserProfiles":' + write_json(mapper.profiles(world, (node, *peers))),
            b'"PacketFilters":' + self._rules(world, group),
        ]
        if peers:
            parts.append(b'"Peers":[' + b",".join(map(self._peer_json, peers)) + b"]")
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
        before, after = old.nodes[viewer], new.nodes[viewer]
        groups = self._policy.group(old, before), self._policy.group(new, after)
        place = old.generation, *groups
        difference = self._differences.get(place)
        if difference is None:
            difference = self._difference(old, new, groups)
            self._differences[place] = difference
        is_own = before is not after and key == after.record.key
        own = self._own_change(old, new, viewer) if is_own else b""
        if not own and viewer not in difference.subjects:
            frame = self._shared.get((compress, *place))
            if frame is None:
                frame = _frame(_message(_parts(difference)), compress)
                self._shared[compress, *place] = frame
            return frame
        return _frame(_message([own, *_parts(_without(difference, viewer))]), compress)

    def _forget(self, new: World) -> None:
        if new.generation != self._latest:
            self._latest = new.generation
            self._differences.clear()
            self._shared.clear()
            if len(self._peers) > len(new.nodes) + len(new.nodes) // 4:
                self._peers = {i: p for i, p in self._peers.items() if i in new.nodes}

    def _difference(self, old: World, new: World, groups: tuple[Hashable, Hashable]) -> Difference:
        before = {n.id: n for n in self._visible(old, groups[0])}
        after = {n.id: n for n in self._visible(new, groups[1])}
        changed: dict[int, bytes] = {}
        patched: dict[int, bytes] = {}
        for i, node in after.items():
            known = before.get(i)
            if known is node:
                continue
            patch = None if known is None else self._patch(known, node)
            if patch is None:
                changed[i] = self._peer_json(node)
            elif patch:
                patched[i] = patch
        old_rules, new_rules = self._rules(old, groups[0]), self._rules(new, groups[1])
        return Difference(
            removed=tuple(i for i in before if i not in after),
            changed=changed,
            patched=patched,
            profiles=self._profiles(old, new, before.values(), [after[i] for i in changed]),
            rules=b"" if old_rules == new_rules else new_rules,
        )

    def _patch(self, old: Node, new: Node) -> bytes | None:
        """Return the small change as JSON, b"" if peers see no change, None if it is not small."""
        before, after = mapper.peer(old, self._mesh), mapper.peer(new, self._mesh)
        if before == after:
            return b""
        change = mapper.patch(before, after)
        return None if change is None else write_json(change)

    def _profiles(
        self, old: World, new: World, before: Iterable[Node], changed: list[Node]
    ) -> bytes:
        """Return users that no node belonged to before, and those that changed themselves."""
        wanted = {mapper.profile_id(n) for n in changed}
        if wanted:
            wanted -= {mapper.profile_id(n) for n in before}
        if old.records.users is not new.records.users:
            known = old.records.users
            wanted |= {i for i, u in new.records.users.items() if i in known and known[i] is not u}
        if not wanted:
            return b""
        return write_json([mapper.profile(new.records.users, i) for i in sorted(wanted)])

    def _own_change(self, old: World, new: World, viewer: int) -> bytes:
        before = self._self_json(old, old.nodes[viewer])
        after = self._self_json(new, new.nodes[viewer])
        return b"" if before == after else b'"Node":' + after

    def _visible(self, world: World, group: Hashable) -> list[Node]:
        return [n for n in world.nodes.values() if self._policy.sees(world, group, n)]

    def _rules(self, world: World, group: Hashable) -> bytes:
        return b'{"base":' + write_json(self._policy.rules(world, group)) + b"}"

    def _self_json(self, world: World, node: Node) -> bytes:
        return write_json(mapper.myself(node, self._mesh, self._items(world, node)))

    def _peer_json(self, node: Node) -> bytes:
        kept = self._peers.get(node.id)
        if kept is not None and kept[0] is node:
            return kept[1]
        encoded = mapper.peer_json(node, self._mesh)
        self._peers[node.id] = node, encoded
        return encoded


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
