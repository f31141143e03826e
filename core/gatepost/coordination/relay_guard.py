"""Who may use this server's relay: the nodes of this mesh, for as long as their keys hold."""

from __future__ import annotations

import logging
from typing import Protocol

from gatepost.coordination.ledger import Ledger
from gatepost.coordination.world import World
from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import ClientCounters

log = logging.getLogger(__name__)


class Relay(Protocol):
    """What is asked of the relay; `net.derp_server.DerpServer` is one."""

    def clients(self) -> tuple[ClientCounters, ...]: ...

    def expel(self, key: NodePublic) -> int: ...


class RelayGuard:
    """Asked when a relay connection begins; `tick` ends those that may not go on."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._checked: World | None = None

    def admits(self, key: NodePublic) -> bool:
        """Say whether this is the key of a node here that has not expired."""
        world = self._ledger.world
        record = world.records.node_by_key(key)
        return record is not None and not world.nodes[record.id].presence.expired

    async def admit(self, key: NodePublic, _source: str) -> bool:
        return self.admits(key)

    def tick(self, relay: Relay) -> None:
        """Close the connections of nodes that were deleted or expired; call it every second.

        A look at every client costs less than hearing of every change would:
        in a mass join there are hundreds of changes a second.
        """
        if self._checked is self._ledger.world:
            return
        self._checked = self._ledger.world
        nodes = {client.key for client in relay.clients() if not client.mesh}
        for key in nodes:
            if self.admits(key):
                continue
            log.info("ending the relay connection of %s: no node has this key now", key.short)
            relay.expel(key)
