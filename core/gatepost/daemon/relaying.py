"""Runs the relay that a plugin asks for, and lets those use it who may.

Requests for places come by DERP, through whatever path service there is; a relay
outlives it, so that a new login does not end the sessions of others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gatepost.daemon.relay_mapping import RelayMapping
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, IPAddress, NetMap
from gatepost.model.observed import Watch
from gatepost.model.process import PeerRelay, WatchPeerRelay
from gatepost.model.resource import Level, Notice, Resource
from gatepost.net.paths import PathService
from gatepost.net.relay_ports import Forwarder
from gatepost.net.relay_server import RelayService, RelayState
from gatepost.net.tasks import Tasks
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, Way
from gatepost.wire.disco_relay import AllocateRequest, AllocateResponse, RelayMessage

log = logging.getLogger(__name__)

MAY_USE = "tailscale.com/cap/relay"  # capability at this node; protocol document 4
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0  # seconds before a relay that failed is started again


@dataclass(slots=True, kw_only=True)
class Relaying:
    """The relay, if one is wanted. `replace` may be called at any time; `close` it."""

    own_addresses: Callable[[], Iterable[IPAddress]]
    forwarder: Forwarder
    publish: Callable[[Watch[int], object], None]
    mapping: RelayMapping
    _wanted: PeerRelay | None = None
    _netmap: NetMap | None = None
    _service: RelayService | None = None
    _task: asyncio.Task[None] | None = None
    _failure: str = ""
    _tasks: Tasks = field(default_factory=Tasks)

    def __post_init__(self) -> None:
        self.mapping.on_change = self._on_mapped

    def replace(self, resources: Iterable[Resource]) -> None:
        """Run exactly the relay among `resources`. Never waits."""
        wanted = next((r for r in resources if isinstance(r, PeerRelay)), None)
        if wanted == self._wanted:
            if self._service is not None:
                self._service.look()
            return
        self._wanted, self._failure = wanted, ""
        previous = self._task  # kept when no relay is wanted: it has the port until it has ended
        if previous is not None:
            previous.cancel()
        if wanted is None:
            self.mapping.set_port(0)
        else:
            self._task = self._tasks.spawn(self._keep(wanted, previous), "peer relay")

    def set_netmap(self, netmap: NetMap | None) -> None:
        self._netmap = netmap
        if self._service is not None and netmap is not None:
            self._service.set_regions(netmap.derp)

    def poke(self) -> None:
        """Look again at addresses and routes: the machine's network has changed."""
        if self._service is not None:
            self._service.poke()

    def attach_to(self, paths: PathService) -> None:
        """Answer the requests that come by these paths."""
        paths.attach(_Link(self, paths))

    def state(self) -> RelayState | None:
        return self._service.state() if self._service else None

    def notices(self) -> tuple[Notice, ...]:
        if not self._failure:
            return ()
        return (Notice("relay-failed", f"peer relay: {self._failure}", Level.ERROR),)

    async def close(self) -> None:
        await self._tasks.close()
        await self.mapping.close()
        await self.forwarder.close()

    def allocate(
        self, sender: DiscoPublic, node: NodePublic, request: AllocateRequest
    ) -> AllocateResponse | None:
        """Give a peer a place, if it may have one; everybody else hears nothing."""
        netmap, service = self._netmap, self._service
        if netmap is None or service is None:
            return None
        peer = next((p for p in netmap.peers if p.key == node), None)
        if peer is None or not netmap.may(peer, MAY_USE):
            log.info("%s asks for a relay place, but was not granted %s", node.short, MAY_USE)
            return None
        return service.allocate(sender, request)

    def allocate_here(
        self, disco: DiscoPublic, request: AllocateRequest
    ) -> AllocateResponse | None:
        """Give this node itself a place at its own relay, if there is one."""
        return self._service.allocate(disco, request) if self._service else None

    async def _keep(self, wanted: PeerRelay, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:  # it still has the port
            await asyncio.gather(previous, return_exceptions=True)
        pause = 0.0
        while True:
            self._service = service = RelayService(
                port=wanted.port,
                static=wanted.static,
                own_addresses=self.own_addresses,
                forwarder=self.forwarder,
                on_port=self._on_port,
            )
            self.set_netmap(self._netmap)
            self._on_mapped()
            began = asyncio.get_running_loop().time()
            try:
                await service.run()
            except* OSError as group:
                self._failure = "; ".join(str(e) for e in group.exceptions)
                log.warning("peer relay: %s", self._failure)
            finally:
                self._service = None
                self.publish(WatchPeerRelay(), 0)
            pause = next_pause(pause, asyncio.get_running_loop().time() - began)
            await asyncio.sleep(pause)

    def _on_port(self, port: int) -> None:
        self._failure = ""
        self.publish(WatchPeerRelay(), port)
        if self._wanted is not None:
            self.mapping.set_port(port)

    def _on_mapped(self) -> None:
        if self._service is not None:
            self._service.set_mapped(self.mapping.endpoints())


def next_pause(pause: float, lasted: float) -> float:
    """Return how many seconds to wait after a run that lasted so long; `pause` was before it."""
    if lasted > LAST_PAUSE:
        return FIRST_PAUSE
    return min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)


@dataclass(frozen=True, slots=True)
class _Link:
    """What one path service tells the relay; `net.path_ports.RelayLink` has the words."""

    relaying: Relaying
    paths: PathService

    def is_known(self, sender: DiscoPublic) -> bool:  # noqa: ARG002  # the interface
        return False  # only peers may ask

    def on_message(
        self, sender: DiscoPublic, node: NodePublic | None, message: RelayMessage, way: Way
    ) -> None:
        if isinstance(message, AllocateRequest) and node and isinstance(way, ByDerp):
            answer = self.relaying.allocate(sender, node, message)
            if answer is not None:
                self.paths.send_message(sender, way, answer)

    def on_heard(self, sender: DiscoPublic, way: ByRelay) -> None:
        """Leave this to relay clients."""

    def seek(self, peer: NodePublic, disco: DiscoPublic) -> None:
        """Leave this to relay clients."""

    def on_moved(self, peer: NodePublic, endpoint: Endpoint) -> None:
        """Leave this to relay clients."""
