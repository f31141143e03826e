"""Runs the HTTP server for peers while it is wanted, and what answers names there."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.learned_names_file import LearnedNamesFile
from gatepost.daemon.peer_names import PeerNames
from gatepost.daemon.relaying import next_pause
from gatepost.daemon.store import Store
from gatepost.model.netmap import IPAddress, NetMap
from gatepost.model.observed import Watch
from gatepost.model.peer_api import MOST_TRIES, PeerApi, WatchPeerApi
from gatepost.model.process import Handler, LocalNetworks, WatchLocalNetworks
from gatepost.model.resolver import NameView
from gatepost.model.resource import Level, Notice, Resource
from gatepost.net.dns_resolver import Desk
from gatepost.net.peer_api import PeerApiServer, open_sockets
from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)

EXPIRY = 60.0  # seconds between looks at which learned names are over

Place = tuple[PeerApi, tuple[IPAddress, ...]]


@dataclass(slots=True, kw_only=True)
class PeerApiService:
    """The server, if one is wanted. `replace` may be called at any time; `close` it.

    `publish` takes observations: it moves on to the next port when one is taken.
    """

    names: PeerNames
    publish: Callable[[Watch[int], object], None]
    file: LearnedNamesFile
    _server: PeerApiServer = field(default_factory=PeerApiServer)
    _place: Place | None = None
    _task: asyncio.Task[None] | None = None
    _expiry: asyncio.Task[None] | None = None
    _tries: int = 0
    _failure: str = ""
    _tasks: Tasks = field(default_factory=Tasks)

    def set_netmap(self, netmap: NetMap | None) -> None:
        self._server.netmap = netmap
        self.names.set_netmap(netmap)

    def replace(self, resources: Iterable[Resource], mesh: tuple[IPAddress, ...]) -> None:
        """Serve as `resources` say, at this node's addresses in the mesh. Never waits."""
        all_of_them = tuple(resources)
        self.names.replace(all_of_them)
        self._server.answer = self.names.answer if self.names.is_wanted else None
        handlers = (r for r in all_of_them if isinstance(r, Handler) and r.surface == "peer")
        self._server.handlers = {handler.path: handler for handler in handlers}
        if self._expiry is None:
            self._expiry = self._tasks.spawn(self._expire(), "learned names")
        wanted = next((r for r in all_of_them if isinstance(r, PeerApi)), None)
        place = None if wanted is None or not mesh else (wanted, mesh)
        if place == self._place:
            return
        self._place, self._failure = place, ""
        previous, self._task = self._task, None
        if previous is not None:
            previous.cancel()
        if place is not None:
            self._task = self._tasks.spawn(self._keep(place, previous), "peer API")

    def notices(self) -> tuple[Notice, ...]:
        names = (*self.names.notices(), *self.file.notices())
        if not self._failure:
            return names
        return (Notice("peer-api-failed", f"peer API: {self._failure}", Level.ERROR), *names)

    async def close(self) -> None:
        await self._tasks.close()
        await self.file.close()

    async def _keep(self, place: Place, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:  # it may still have the port
            await asyncio.gather(previous, return_exceptions=True)
        wanted, addresses = place
        pause = 0.0
        while True:
            try:
                server = await self._server.serve(open_sockets(addresses, wanted.port))
            except OSError as error:
                self._failure = f"TCP port {wanted.port}: {error.strerror}"
                log.warning("peer API: %s", self._failure)
                if error.errno == errno.EADDRINUSE:
                    self._tries = (self._tries + 1) % MOST_TRIES
                    self.publish(WatchPeerApi(), self._tries)
            else:
                self._failure = ""
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    await server.close()
            pause = next_pause(pause, 0.0)
            await asyncio.sleep(pause)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY)
            self.names.expire()


def make_peer_api(
    *,
    store: Store,
    inputs: Inputs,
    desk: Callable[[NameView], Desk],
    announce: Callable[[], None],
    now: Callable[[], float],
) -> PeerApiService:
    """Make the peer API of a daemon, with what it learned before a restart. Waits for the disk.

    `desk` is where people of one kind ask the box's resolver; it tells peers nothing about names of
    the mesh.
    """
    keeper = LearnedNamesFile(store)
    learning = PeerNames(
        ask=desk(NameView(is_mesh_known=False)).ask,
        ask_apps=desk(NameView(is_mesh_known=False, refuses_private=False)).ask,
        publish=inputs.answer_one,
        announce=announce,
        attached=lambda: inputs.observed.get(WatchLocalNetworks(), LocalNetworks()).networks,
        now=now,
        save=keeper.save,
    )
    keeper.load(learning)
    return PeerApiService(names=learning, publish=inputs.answer_one, file=keeper)
