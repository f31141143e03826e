"""What follows from time and from streams coming and going: online, expiry, ephemeral nodes.

event                         consequence
stream begins                 online; timers of the node stop
last stream ends              offline after GRACE, unless another begins before
server starts                 online unknown; offline after START_GRACE
ephemeral without a stream    deleted after the timeout of the settings
key expiry is reached         expired: the node must log in again, its peers are told
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.records import DropNode, Records
from gatepost.coordination.timers import Timers
from gatepost.coordination.world import is_expired
from gatepost.errors import StateError

log = logging.getLogger(__name__)

GRACE = 10.0  # seconds: a client that changes networks is back by then
START_GRACE = 60.0  # seconds: clients back off up to 30 while the server is away

_Key = tuple[Literal["offline", "ephemeral"], int]


class Presences:
    """Watches streams and clocks. `tick` must be called every second."""

    def __init__(
        self, ledger: Ledger, clock: Callable[[], float], ephemeral_timeout: float
    ) -> None:
        """Take a monotonic clock and seconds."""
        self._ledger = ledger
        self._clock = clock
        self._ephemeral_timeout = ephemeral_timeout
        self._timers: Timers[_Key] = Timers()
        self._connected: set[int] = set()
        for node in ledger.world.nodes.values():
            self._timers.set(("offline", node.id), clock() + START_GRACE)
            self._watch_ephemeral(node.id)

    def connected(self, node_id: int) -> None:
        self._connected.add(node_id)
        self._timers.cancel(("offline", node_id))
        self._timers.cancel(("ephemeral", node_id))
        self._set_online(node_id, online=True)

    def left(self, node_id: int) -> None:
        self._connected.discard(node_id)
        self._timers.set(("offline", node_id), self._clock() + GRACE)
        self._watch_ephemeral(node_id)

    def joined(self, node_id: int) -> None:
        """Start the watch over a node that registered; it may never open a stream."""
        if node_id not in self._connected:
            self._watch_ephemeral(node_id)

    async def tick(self, now: float) -> None:
        """Do what is due at `now`, by the monotonic clock."""
        for kind, node_id in self._timers.due(now):
            if kind == "offline":
                self._set_online(node_id, online=False)
            else:
                await self._delete(node_id, now)
        self._expire()

    def _set_online(self, node_id: int, *, online: bool) -> None:
        node = self._ledger.world.nodes.get(node_id)
        if node is None:
            return
        is_leaving = node.presence.online and not online
        self._ledger.see(
            node_id,
            replace(node.presence, online=online),
            last_seen=self._ledger.now if is_leaving else None,
        )

    def _watch_ephemeral(self, node_id: int) -> None:
        node = self._ledger.world.nodes.get(node_id)
        if node is not None and node.record.ephemeral:
            self._timers.set(("ephemeral", node_id), self._clock() + self._ephemeral_timeout)

    async def _delete(self, node_id: int, now: float) -> None:
        def decide(records: Records) -> Decision[str]:
            node = records.nodes.get(node_id)
            if node is None or not node.ephemeral:
                return Decision("")
            return Decision(node.label, (DropNode(node_id),))

        try:
            label = await self._ledger.change(decide)
        except StateError:
            self._timers.set(("ephemeral", node_id), now + self._ephemeral_timeout)
            return
        if label:
            log.info("ephemeral node %s was away too long and is deleted", label)

    def _expire(self) -> None:
        now = self._ledger.now
        for node in tuple(self._ledger.world.nodes.values()):
            if not node.presence.expired and is_expired(node.record, now):
                log.info("the key of node %s has expired", node.record.label)
                self._ledger.see(node.id, replace(node.presence, expired=True))
