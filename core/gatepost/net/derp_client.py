"""A node's connections to DERP relays: home always, other regions while they are used.

Packets are never waited for: each region has a short queue that drops its
oldest, and what one turn of the loop sends leaves in one write.
Source: protocol document 3 and 2.3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import DerpRegion
from gatepost.net.derp_link import Contexts
from gatepost.net.derp_region import RegionClient, RegionState, Surroundings
from gatepost.net.tasks import Tasks
from gatepost.net.tls import utc_now

SWEEP = 1.0  # seconds between looks for idle and silent connections

OnPacket = Callable[[int, NodePublic, bytes], None]
OnPeerGone = Callable[[int, NodePublic, int], None]
OnChange = Callable[[int], None]


def _ignore(*_: object) -> None:
    """Hear nothing."""


class DerpClients:
    """All regions, by id. To be made and used on one running loop; `run` must run.

    `on_packet(region, source, payload)` is called for every packet,
    `on_peer_gone(region, peer, reason)` when a relay does not have a peer
    (`wire.derp_frames.GoneReason`), `on_change(region)` when a connection came
    or went or has a problem. None of them may wait. `mark` is the SO_MARK of
    this program's own traffic. `random`, `clock` (seconds that never go back) and
    `today` are for tests.
    """

    def __init__(  # noqa: PLR0913  # the last three are for tests
        self,
        private: NodePrivate,
        on_packet: OnPacket,
        *,
        on_peer_gone: OnPeerGone = _ignore,
        on_change: OnChange = _ignore,
        mark: int | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        clock: Callable[[], float] | None = None,
        today: Callable[[], datetime] = utc_now,
    ) -> None:
        self._surroundings = Surroundings(
            private=private,
            on_packet=on_packet,
            on_peer_gone=on_peer_gone,
            on_change=on_change,
            random=random,
            clock=clock or asyncio.get_running_loop().time,
            today=today,
            mark=mark,
            contexts=Contexts(),
            wake=self._wake,
        )
        self._regions: dict[int, DerpRegion] = {}
        self._clients: dict[int, RegionClient] = {}
        self._home = 0
        self._unflushed: list[RegionClient] = []
        self._tasks = Tasks()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    # --- what is wanted -------------------------------------------------------------
    def set_regions(self, regions: tuple[DerpRegion, ...]) -> None:
        """Use these relays from now on; connections that are still right stay."""
        self._regions = {region.id: region for region in regions}
        for number, client in tuple(self._clients.items()):
            region = self._regions.get(number)
            if region is None:
                self._forget(number)
            else:
                client.replace(region)
        self._keep_home()

    def set_home(self, region_id: int) -> None:
        """Stay connected to this region; 0 is none. The old home is left when it is idle."""
        self._home = region_id
        for number, client in self._clients.items():
            client.set_home(number == region_id)
        self._keep_home()

    def send(self, region_id: int, destination: NodePublic, payload: bytes) -> bool:
        """Send one packet of at most 64 KiB; never waits, and may drop what is oldest.

        Return False when there is no such region.
        """
        client = self._client(region_id)
        if client is None:
            return False
        client.send(destination, payload)
        return True

    def reconnect(self) -> None:
        """Drop all connections and dial again: this machine's addresses have changed."""
        for client in self._clients.values():
            client.close("the network has changed")
            client.hurry()

    # --- what is ----------------------------------------------------------------------
    def connected(self, region_id: int) -> bool:
        client = self._clients.get(region_id)
        return client is not None and client.connected

    def states(self) -> Mapping[int, RegionState]:
        """Return every region that is or was in use, by id."""
        return {number: client.state() for number, client in self._clients.items()}

    # --- its life -----------------------------------------------------------------------
    async def run(self) -> None:
        """Look after the connections until cancelled, then close them."""
        try:
            while True:
                await asyncio.sleep(SWEEP)
                self.sweep()
        finally:
            await self.close()

    def sweep(self) -> None:
        """Close connections that are silent for too long or not used any more."""
        for client in self._clients.values():
            client.check()

    async def close(self) -> None:
        """End all connections; nothing is sent any more."""
        self._closed = True
        await self._tasks.close()
        self._clients.clear()

    def _client(self, number: int) -> RegionClient | None:
        """Return the client of a region with its task running."""
        region = self._regions.get(number)
        if region is None or self._closed:
            return None
        client = self._clients.get(number)
        if client is None:
            client = self._clients[number] = RegionClient(region, self._surroundings)
            client.set_home(number == self._home)
        running = self._running.get(number)
        if running is None or running.done():
            work = self._tend(client)
            self._running[number] = self._tasks.spawn(work, f"derp region {number}")
        return client

    async def _tend(self, client: RegionClient) -> None:
        await client.run()

    def _keep_home(self) -> None:
        if self._home:
            self._client(self._home)

    def _forget(self, number: int) -> None:
        del self._clients[number]
        running = self._running.pop(number, None)
        if running is not None:
            running.cancel()

    # --- one write per turn -----------------------------------------------------------
    def _wake(self, client: RegionClient) -> None:
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.append(client)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for client in unflushed:
            client.flush()
