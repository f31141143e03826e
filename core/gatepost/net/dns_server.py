"""Answers DNS queries on UDP and TCP sockets with the box's resolver, with limits on both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from gatepost.model.netmap import IPNetwork
from gatepost.model.resolver import NameView
from gatepost.net.dns_resolver import LARGEST, Desk, Resolver
from gatepost.net.dns_site_desk import SiteDesk
from gatepost.net.tasks import Tasks
from gatepost.sessions.dns_messages import Query
from gatepost.sessions.dns_names import SERVICE_V4, SERVICE_V6

log = logging.getLogger(__name__)

BATCH = 64  # datagrams read before others have their turn
MOST_WAITING = 1024  # UDP queries that wait for a server; more are dropped
MOST_CONNECTIONS = 64
MOST_OF_ONE = 16  # connections of one client
IDLE = 10.0  # seconds a TCP client may take for a query (RFC 7766 asks for a few)
LARGEST_QUERY = 4096  # bytes
MOST_JUDGED = 4096  # clients of whom it is kept whether they may ask
_LENGTH = 2  # bytes before a message on TCP

_OWN = frozenset({str(SERVICE_V4), str(SERVICE_V6), "::1"})

Source = tuple[Any, ...]  # what recvfrom says, which goes back to sendto as it is
MayAsk = Callable[[Source], bool]


async def answer_names(resolver: Resolver, view: NameView, sockets: Iterable[int]) -> None:
    """Answer on these sockets (file descriptors, which stay open) until cancelled."""
    loop = asyncio.get_running_loop()
    desk = SiteDesk(resolver, view) if view.is_for_mesh else resolver.desk(view)
    may_ask = asker(view)
    tasks = Tasks()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(tasks.close)
        connections = Connections(desk, may_ask)
        for number in sockets:
            sock = stack.enter_context(socket.socket(fileno=os.dup(number)))
            if sock.type == socket.SOCK_DGRAM:
                datagrams = Datagrams(sock, desk, may_ask, tasks)
                loop.add_reader(sock, datagrams.read)
                stack.callback(loop.remove_reader, sock)
            else:
                server = await asyncio.start_server(connections.serve, sock=sock)
                stack.callback(server.close)
        stack.callback(connections.close)
        await asyncio.Event().wait()


def asker(view: NameView) -> MayAsk:
    """Return what says who is answered."""
    if view.sources is None:
        return is_own
    networks = view.sources
    judged = dict[str, bool]()

    def may_ask(source: Source) -> bool:
        host = str(source[0])
        found = judged.get(host)
        if found is None:
            if len(judged) >= MOST_JUDGED:
                judged.clear()
            found = judged[host] = _is_in(host, networks)
        return found

    return may_ask


def _is_in(host: str, networks: tuple[IPNetwork, ...]) -> bool:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in n for n in networks)


def is_own(source: Source) -> bool:
    """Say whether this machine itself asks.

    Its packets to an address of its own come from that address, unless it chose
    a loopback one; from elsewhere the kernel or the packet filter drops both.
    A neighbour that has a route to us comes with another. Binding the socket to
    the loopback device would refuse it too, but answers then find no way.
    """
    host = str(source[0])
    return host in _OWN or host.startswith("127.")


@dataclass(slots=True)
class Datagrams:
    """One UDP socket. What is known is answered in the same turn of the loop."""

    sock: socket.socket
    desk: Desk
    may_ask: MayAsk
    tasks: Tasks
    _waiting: int = 0

    def read(self) -> None:
        for _ in range(BATCH):
            try:
                raw, source = self.sock.recvfrom(LARGEST_QUERY)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error about an earlier answer
                log.debug("receiving: %s", error)
                continue
            if self.may_ask(source):
                self._take(raw, source)

    def _take(self, raw: bytes, source: Source) -> None:
        found = self.desk.at_once(raw)
        if isinstance(found, bytes):
            self._send(found, source)
        elif found is not None and self._waiting < MOST_WAITING:
            self._waiting += 1
            self.tasks.spawn(self._answer(found, source), "dns query")

    async def _answer(self, query: Query, source: Source) -> None:
        try:
            self._send(await self.desk.answer(query, query.room), source)
        finally:
            self._waiting -= 1

    def _send(self, answer: bytes, source: Source) -> None:
        try:
            self.sock.sendto(answer, source)
        except OSError as error:
            log.debug("answering %s: %s", source, error)


@dataclass(slots=True)
class Connections:
    """The TCP clients; one query at a time each."""

    desk: Desk
    may_ask: MayAsk
    _open: dict[asyncio.StreamWriter, str] = field(default_factory=dict[asyncio.StreamWriter, str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: Source | None = writer.get_extra_info("peername")  # None when it has left already
        if client is None or not self.may_ask(client) or self._is_full(str(client[0])):
            writer.close()
            return
        self._open[writer] = str(client[0])
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    raw = await self._next(reader)
                    answer = await self.desk.ask(raw, LARGEST)
                    if answer is None:
                        return
                    writer.write(len(answer).to_bytes(_LENGTH) + answer)
                    await writer.drain()
        except (EOFError, OSError, TimeoutError) as error:
            log.debug("a TCP client: %r", error)
        finally:
            del self._open[writer]
            writer.close()

    def close(self) -> None:
        for writer in tuple(self._open):
            writer.close()

    def _is_full(self, host: str) -> bool:
        mine = sum(other == host for other in self._open.values())
        return len(self._open) >= MOST_CONNECTIONS or mine >= MOST_OF_ONE

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(_LENGTH)))
