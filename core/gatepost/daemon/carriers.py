"""What carries packets beside WireGuard, for one node key: path discovery and DERP.

A new key (login, rotation) is a new pair, because both speak under the key. A
pair that fails (a port that is taken) is a notice and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gatepost.errors import UnreachableError
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import Endpoint, IPAddress, NetMap
from gatepost.model.resource import Level, Notice
from gatepost.model.status import NetcheckDocument
from gatepost.net.derp_client import DerpClients
from gatepost.net.path_ports import OwnEndpoint, PathInfo, PingResult
from gatepost.net.paths import PathService
from gatepost.net.tasks import Tasks
from gatepost.sessions.netcheck import Report
from gatepost.sessions.paths_report import PathReport

log = logging.getLogger(__name__)

PAUSE = 5.0  # seconds before a pair that failed is tried again


@dataclass(slots=True)
class Pair:
    """Path discovery and the DERP connections under one key."""

    paths: PathService
    derp: DerpClients


MakePair = Callable[[NodePrivate], Pair]


@dataclass(slots=True)
class Carriers:
    """The pair in use, if any. `use` may be called at any time; `close` it."""

    make: MakePair
    pause: float = PAUSE
    _pair: Pair | None = None
    _key: NodePrivate | None = None
    _netmap: NetMap | None = None
    _task: asyncio.Task[None] | None = None
    _failure: str = ""
    _own: tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]] = ((), ())
    _tasks: Tasks = field(default_factory=Tasks)

    def use(self, key: NodePrivate | None, netmap: NetMap | None) -> None:
        """Carry packets for this node and this netmap; without a key for nobody. Never waits."""
        if key != self._key:
            self._key, self._netmap = key, None
            if self._task is not None:
                self._task.cancel()
            previous, self._task, self._pair = self._task, None, None
            if key is not None:
                self._pair = self.make(key)
                self._tell_own()
                self._task = self._tasks.spawn(self._keep(key, self._pair, previous), "carriers")
        if self._pair is not None and netmap is not self._netmap:
            self._netmap = netmap
            self._pair.paths.set_netmap(netmap)

    def set_own(self, *, mapped: tuple[Endpoint, ...], static: tuple[Endpoint, ...]) -> None:
        """Take the endpoints of this node that a router mapped, and those that were set by hand."""
        if (mapped, static) != self._own:
            self._own = mapped, static
            self._tell_own()

    def poke(self) -> None:
        """Look again at this machine's addresses: the kernel reports a change."""
        if self._pair is not None:
            self._pair.paths.poke()

    def survey_again(self) -> None:
        """Ask STUN servers again: the rules that give our packets WireGuard's port are loaded."""
        if self._pair is not None:
            self._pair.paths.survey_again()

    def notices(self) -> tuple[Notice, ...]:
        if not self._failure:
            return ()
        return (Notice("paths-failed", f"paths to peers: {self._failure}", Level.ERROR),)

    @property
    def home(self) -> int:
        return self._pair.paths.home if self._pair else 0

    @property
    def is_home_connected(self) -> bool:
        return self._pair is not None and bool(self.home) and self._pair.derp.connected(self.home)

    def endpoints(self) -> tuple[OwnEndpoint, ...]:
        return self._pair.paths.endpoints() if self._pair else ()

    def paths(self) -> Mapping[NodePublic, PathInfo]:
        return self._pair.paths.paths() if self._pair else {}

    def report(self, key: NodePublic) -> PathReport | None:
        """Say how a peer is reached and what was tried; None for who is not in the netmap."""
        return self._pair.paths.report(key) if self._pair else None

    @property
    def surveyed(self) -> Report | None:
        """What the last check of the network found; None before the first one."""
        return self._pair.paths.surveyed if self._pair else None

    def initial_endpoint(self, key: NodePublic) -> Endpoint | None:
        return self._pair.paths.initial_endpoint(key) if self._pair else None

    async def ping(self, key: NodePublic, seconds: float, size: int = 0) -> PingResult:
        return await self._pair.paths.ping(key, seconds, size) if self._pair else PingResult(None)

    async def tsmp_ping(self, address: IPAddress, seconds: float) -> float | None:
        """Return the seconds until a peer's daemon answered through the tunnel, or None."""
        return await self._pair.paths.tsmp_ping(address, seconds) if self._pair else None

    async def netcheck(self) -> NetcheckDocument:
        if self._pair is None:
            raise UnreachableError("the mesh is down: `gatepost up` first")
        return await self._pair.paths.netcheck()

    async def close(self) -> None:
        await self._tasks.close()

    def _tell_own(self) -> None:
        if self._pair is not None:
            mapped, static = self._own
            self._pair.paths.set_mapped(mapped)
            self._pair.paths.set_static(static)

    async def _keep(
        self, key: NodePrivate, pair: Pair, previous: asyncio.Task[None] | None
    ) -> None:
        if previous is not None:  # it still has the ports
            await asyncio.gather(previous, return_exceptions=True)
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pair.derp.run(), name="derp")
                    group.create_task(pair.paths.run(pair.derp), name="paths")
                    self._failure = ""
            except* OSError as group_error:
                self._failure = "; ".join(str(e) for e in group_error.exceptions)
                log.warning("paths to peers: %s", self._failure)
            await asyncio.sleep(self.pause)
            pair = self._pair = self.make(key)  # what ended has closed itself for good
            self._tell_own()
            if self._netmap is not None:
                pair.paths.set_netmap(self._netmap)
