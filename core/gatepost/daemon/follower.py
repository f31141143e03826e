"""One connection to the coordination server after the login: the map in, our changes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from gatepost.daemon.hostinfo import Announcement
from gatepost.daemon.login import Registrar
from gatepost.daemon.ping_request import Asker, TsmpPing, answer_ping
from gatepost.errors import GatepostError, RefusedError, UnreachableError
from gatepost.net.tasks import Tasks
from gatepost.sessions.granted import GrantDoubt
from gatepost.sessions.netmap import MapState
from gatepost.wire.netmap import MapRequest, MapResponse

log = logging.getLogger(__name__)

GATHER = 0.05  # seconds to let several changes become one update


class Server(Registrar, Asker, Protocol):
    """One coordination server; `net.control_client.ControlClient` is one."""

    def map(self, request: MapRequest) -> AsyncGenerator[MapResponse]: ...
    async def update(self, request: MapRequest) -> None: ...
    async def close(self) -> None: ...


class Follower:
    """Follows the map of one server until the connection ends."""

    def __init__(
        self,
        server: Server,
        request: Callable[[Announcement], MapRequest],
        announcement: Callable[[], Announcement],
        tsmp_ping: TsmpPing,
    ) -> None:
        self._server = server
        self._tsmp_ping = tsmp_ping
        self._request = request
        self._announcement = announcement
        self._news = asyncio.Event()
        self._news.set()
        self._tasks = Tasks()

    def announce(self) -> None:
        """Something that the others should know may have changed. Never waits."""
        self._news.set()

    async def run(self, on_message: Callable[[MapState, MapResponse], None]) -> None:
        """Call `on_message` for every message; always end with a GatepostError."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(on_message), name="map stream")
                group.create_task(self._tell(), name="map updates")
        except BaseExceptionGroup as group_error:  # in `except*` a new error would be wrapped
            ours, strange = group_error.split(GatepostError)
            if ours is None or strange is not None:
                raise
            raise _first(ours) from None
        finally:
            await self._tasks.close()

    async def _listen(self, on_message: Callable[[MapState, MapResponse], None]) -> None:
        """Follow one stream after the other: another one tells what this one may have kept back."""
        doubt = GrantDoubt()
        while True:
            patience = asyncio.timeout(None)
            try:
                async with patience:
                    await self._read(on_message, doubt, patience)
            except TimeoutError:
                if not patience.expired():
                    raise
                log.debug("asking for the whole map: routes may have been granted")

    async def _read(
        self,
        on_message: Callable[[MapState, MapResponse], None],
        doubt: GrantDoubt,
        patience: asyncio.Timeout,
    ) -> None:
        """Follow one stream to its end, or until `doubt` wants another one."""
        state = MapState()
        request = self._request(self._announcement())
        async with aclosing(self._server.map(request)) as stream:
            async for message in stream:
                state.apply(message)
                on_message(state, message)
                if message.ping_request is not None:
                    work = answer_ping(self._server, message.ping_request, self._tsmp_ping)
                    self._tasks.spawn(work, "answer to the server")
                self._doubt(doubt, state, message, patience)
        raise UnreachableError("the server ended the map stream")

    def _doubt(
        self, doubt: GrantDoubt, state: MapState, message: MapResponse, patience: asyncio.Timeout
    ) -> None:
        """Let `patience` end when the whole map should be asked for, if not sooner already."""
        netmap = state.netmap()
        if netmap is None or message.keep_alive:
            return
        wait = doubt.on_message(message, netmap, self._announcement().routes)
        if wait is not None:
            due = asyncio.get_running_loop().time() + wait
            patience.reschedule(min(due, patience.when() or due))

    async def _tell(self) -> None:
        """Send what changed, as the lite update, the first time at once."""
        sent: Announcement | None = None
        while True:
            await self._news.wait()
            self._news.clear()
            said = self._announcement()
            if said != sent:
                await self._update(said)
                sent = said
                await asyncio.sleep(GATHER)

    async def _update(self, said: Announcement) -> None:
        try:
            await self._server.update(self._request(said))
        except RefusedError as error:  # the stream decides whether we are still wanted
            log.warning("the server refuses an update: %s", error)


def _first(group: BaseExceptionGroup[GatepostError]) -> GatepostError:
    """Return the one error that says most: a refusal before the rest."""
    leaves = _leaves(group)
    return next((e for e in leaves if isinstance(e, RefusedError)), leaves[0])


def _leaves(group: BaseExceptionGroup[GatepostError]) -> list[GatepostError]:
    found = list[GatepostError]()
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
