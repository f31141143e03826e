"""The peers of a map, by id, changed by whole nodes and by patches.

Each peer is kept as it was on the wire and as it was read, so that a patch
costs one peer. Source: protocol document 1.11.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from gatepost.errors import Malformed
from gatepost.model.netmap import Node
from gatepost.sessions.netmap_nodes import parse_node
from gatepost.wire.netmap import MapNode, MapResponse, PeerChange

_PATCHABLE = (
    "cap", "cap_map", "endpoints", "key", "disco_key", "online", "last_seen", "key_expiry",
)  # fmt: skip


class Problems:
    """What is wrong at present, one text per subject; a later success takes it away."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def report(self, subject: str, text: str) -> None:
        self._texts[subject] = text

    def settle(self, subject: str) -> None:
        """Forget a subject and everything below it (`peer` settles `peer 7`)."""
        for name in [n for n in self._texts if n == subject or n.startswith(f"{subject} ")]:
            del self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(f"{subject}: {text}" for subject, text in self._texts.items())


class PeerTable:
    """All peers. `peers` is sorted by id and made anew only after a change."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._wire: dict[int, MapNode] = {}
        self._read: dict[int, Node] = {}
        self._sorted: tuple[Node, ...] | None = ()
        self.own_id = 0  # of the node whose map this is; never a peer

    @property
    def peers(self) -> tuple[Node, ...]:
        if self._sorted is None:
            self._sorted = tuple(self._read[number] for number in sorted(self._read))
        return self._sorted

    @property
    def jailed(self) -> list[Node]:
        """The peers that may only answer."""
        return [self._read[number] for number, node in self._wire.items() if node.is_jailed]

    def written(self) -> tuple[MapNode, ...]:
        """Return the peers as the wire has them, by id."""
        return tuple(self._wire[number] for number in sorted(self._wire))

    def apply(self, response: MapResponse, now: datetime | None) -> bool:
        """Take the changes of one message in the protocol's order; say whether there were any."""
        if response.peers:
            self._replace_all(response.peers)
            return True
        changed = False
        for number in response.peers_removed or ():
            changed |= self._remove(number)
        for node in response.peers_changed or ():
            changed |= self._put(node)
        if now is not None:
            for number, is_seen in (response.peer_seen_change or {}).items():
                changed |= self._patch(number, last_seen=now if is_seen else None)
        for number, is_online in (response.online_change or {}).items():
            changed |= self._patch(number, online=is_online)
        for change in response.peers_changed_patch or ():
            changed |= self._patch(change.node_id, **_fields(change))
        return changed

    def _replace_all(self, nodes: tuple[MapNode, ...]) -> None:
        self._problems.settle("peer")
        for number in self._wire.keys() - {node.id for node in nodes}:
            self._remove(number)
        for node in nodes:
            self._put(node)

    def _remove(self, number: int) -> bool:
        self._problems.settle(f"peer {number}")
        self._sorted = None
        return self._wire.pop(number, None) is not None and bool(self._read.pop(number))

    def _patch(self, number: int, **changes: Any) -> bool:  # fields of MapNode
        node = self._wire.get(number)
        return node is not None and self._put(msgspec.structs.replace(node, **changes))

    def _put(self, node: MapNode) -> bool:
        """Add or change one peer; what cannot be read leaves what was known."""
        if node.id == self.own_id or self._wire.get(node.id) == node:
            return False
        try:
            read = parse_node(node)
        except Malformed as error:
            self._problems.report(f"peer {node.id}", f"left as it was: {error}")
            return False
        self._problems.settle(f"peer {node.id}")
        self._wire[node.id] = node
        self._read[node.id] = read
        self._sorted = None
        return True


def _fields(change: PeerChange) -> dict[str, Any]:  # fields of MapNode
    fields = {
        name: value
        for name in _PATCHABLE
        if (value := getattr(change, name)) is not None and value != 0
    }
    if change.online is not None:
        fields["online"] = change.online
    if change.derp_region:
        fields["home_derp"] = change.derp_region
    return fields
