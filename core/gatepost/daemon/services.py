"""Keeps `Service` resources running and opens their `Listen` sockets.

A service starts when all its sockets are open, is restarted with a growing
pause when it ends, is replaced when its parameters or sockets change, and is
cancelled when no plugin asks for it any more; then its farewell runs.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gatepost.model.kernel import Listen
from gatepost.model.netmap import IPAddress
from gatepost.model.observed import Watch
from gatepost.model.process import Run, Service
from gatepost.model.resolver import NameView
from gatepost.model.resource import Level, Notice, Resource
from gatepost.net.dns_resolver import Resolver
from gatepost.net.dns_server import answer_names
from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)

FAREWELL = 10.0  # seconds that a service has to take back what it told others
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0  # seconds before a service that ended is started again
_IP_FREEBIND = 15  # Linux: bind an address that is not there yet

Answer = Callable[[Watch[Any], object], None]


@dataclass(slots=True)
class Context:
    """What one running service may touch."""

    publish: Answer
    read_status: Callable[[], str]
    resolver: Resolver
    opened: tuple[socket.socket, ...]

    async def answer(self, watch: Watch[Any], value: object) -> None:
        self.publish(watch, value)

    def status(self) -> str:
        return self.read_status()

    def sockets(self) -> tuple[int, ...]:
        return tuple(s.fileno() for s in self.opened)

    async def answer_names(self, view: NameView) -> None:
        await answer_names(self.resolver, view, self.sockets())


@dataclass(slots=True)
class Running:
    """One service with what it was started with."""

    service: Service
    places: frozenset[tuple[Listen, tuple[IPAddress, ...]]]
    opened: tuple[socket.socket, ...] = ()
    task: asyncio.Task[None] | None = None
    failure: str = ""


@dataclass(slots=True)
class Services:
    """All services of this daemon. `replace` may be called at any time; `close` it."""

    publish: Answer
    read_status: Callable[[], str]
    resolver: Resolver
    _running: dict[str, Running] = field(default_factory=dict[str, Running])
    _farewells: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, asyncio.Task[None]])
    _tasks: Tasks = field(default_factory=Tasks)

    def notices(self) -> tuple[Notice, ...]:
        return tuple(
            Notice("service-failed", f"{name}: {r.failure}", Level.ERROR)
            for name, r in self._running.items()
            if r.failure
        )

    async def replace(self, resources: Iterable[Resource], mesh: tuple[IPAddress, ...]) -> None:
        """Run exactly the services among `resources`; `mesh` are this node's own addresses."""
        wanted, places = (
            dict[str, Service](),
            dict[str, set[tuple[Listen, tuple[IPAddress, ...]]]](),
        )
        for resource in resources:
            if isinstance(resource, Service):
                wanted[resource.name] = resource
            elif isinstance(resource, Listen):
                at = resource.addresses or (mesh if resource.zone == "mesh" else ())
                places.setdefault(resource.service, set()).add((resource, at))
        kept = dict[str, tuple[socket.socket, ...]]()
        for name, running in tuple(self._running.items()):
            is_moved = running.places != frozenset(places.get(name, set()))
            if is_moved or name not in wanted:
                await self._stop(name)
                if name not in wanted:
                    self._take_leave(running)
            elif running.service != wanted[name]:
                kept[name] = await self._end(name)
        for name, service in wanted.items():
            if name not in self._running:
                where = frozenset(places.get(name, set()))
                self._start(Running(service, where, kept.get(name, ())))

    async def close(self) -> None:
        for name in tuple(self._running):
            await self._stop(name)
        await self._tasks.close()

    def _start(self, running: Running) -> None:
        name = running.service.name
        if leaving := self._farewells.pop(name, None):
            leaving.cancel()
        self._running[name] = running
        running.task = self._tasks.spawn(self._keep(running), f"service {name}")

    async def _stop(self, name: str) -> None:
        for each in await self._end(name):
            each.close()

    async def _end(self, name: str) -> tuple[socket.socket, ...]:
        """End a service and return its sockets, still open: what comes meanwhile waits in them."""
        running = self._running.pop(name)
        if running.task is not None:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        return running.opened

    def _take_leave(self, running: Running) -> None:
        service = running.service
        if service.farewell is not None:
            work = self._say_farewell(service.name, service.farewell, service.params)
            self._farewells[service.name] = self._tasks.spawn(work, f"end of {service.name}")

    async def _say_farewell(self, name: str, farewell: Run, params: object) -> None:
        context = Context(self.publish, self.read_status, self.resolver, ())
        try:
            async with asyncio.timeout(FAREWELL):
                await farewell(context, params)
        except Exception as error:  # noqa: BLE001  # a service may be a stranger's code
            log.warning("end of service %s: %s: %s", name, type(error).__name__, error)

    async def _keep(self, running: Running) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if len(running.opened) == 0:
                    running.opened = _open(running.places)
                context = Context(self.publish, self.read_status, self.resolver, running.opened)
                running.failure = ""
                await running.service.run(context, running.service.params)
                running.failure = "it ended by itself"
            except Exception as error:  # noqa: BLE001  # a service may be a stranger's code
                running.failure = f"{type(error).__name__}: {error}"
                log.warning("service %s: %s", running.service.name, running.failure)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)


def _open(places: Iterable[tuple[Listen, tuple[IPAddress, ...]]]) -> tuple[socket.socket, ...]:
    """Open every socket or none; raise `OSError` that names the port."""
    opened = list[socket.socket]()
    try:
        for listen, addresses in sorted(places, key=repr):
            hosts = [str(a) for a in addresses] or [""]
            opened += [_bind(listen, host) for host in hosts]
    except OSError:
        for each in opened:
            each.close()
        raise
    return tuple(opened)


def _bind(listen: Listen, host: str) -> socket.socket:
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    kind = socket.SOCK_STREAM if listen.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(listen.protocol == "tcp"))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host)))
        sock.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        sock.bind((host, listen.port))
        if listen.protocol == "tcp":
            sock.listen(128)
    except OSError as error:
        sock.close()
        where = f"{host or 'every address'} {listen.protocol} port {listen.port}"
        raise OSError(error.errno, f"{where}: {error.strerror}") from error
    return sock
