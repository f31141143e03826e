"""The resolver's service: its UDP and TCP sockets, with limits on both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import dataclass, field
from typing import Any

from gatepost.api import ServiceContext
from gatepost.sessions.dns_messages import Query
from gatepost.sessions.dns_names import SERVICE_V4, SERVICE_V6
from gatepost_plugins.magic_dns.resolver import LARGEST, Parameters, Resolver
from gatepost_plugins.magic_dns.upstream import Upstreams

log = logging.getLogger(__name__)

BATCH = 64  # datagrams read before others have their turn
MOST_WAITING = 1024  # UDP queries that wait for a server; more are dropped
MOST_CONNECTIONS = 64
IDLE = 10.0  # seconds a TCP client may take for a query (RFC 7766 asks for a few)
LARGEST_QUERY = 4096  # bytes
_LENGTH = 2  # bytes before a message on TCP

_OWN = frozenset({str(SERVICE_V4), str(SERVICE_V6), "::1"})

Source = tuple[Any, ...]  # what recvfrom says, which goes back to sendto as it is


async def serve(context: ServiceContext, parameters: Parameters) -> None:
    """Answer on the sockets of `context` until cancelled."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        resolver = Resolver(parameters, group, Upstreams(loop.time).ask, loop.time)
        connections = Connections(resolver)
        for number in context.sockets():
            sock = stack.enter_context(socket.socket(fileno=os.dup(number)))
            if sock.type == socket.SOCK_DGRAM:
                datagrams = Datagrams(sock, resolver, group)
                loop.add_reader(sock, datagrams.read)
                stack.callback(loop.remove_reader, sock)
            else:
                server = await asyncio.start_server(connections.serve, sock=sock)
                stack.callback(server.close)
        stack.callback(connections.close)
        await asyncio.Event().wait()


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
    resolver: Resolver
    group: asyncio.TaskGroup
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
            if is_own(source):
                self._take(raw, source)

    def _take(self, raw: bytes, source: Source) -> None:
        found = self.resolver.at_once(raw)
        if isinstance(found, bytes):
            self._send(found, source)
        elif found is not None and self._waiting < MOST_WAITING:
            self._waiting += 1
            self.group.create_task(self._answer(found, source), name="dns query")

    async def _answer(self, query: Query, source: Source) -> None:
        try:
            self._send(await self.resolver.answer(query, query.room), source)
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

    resolver: Resolver
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: Source | None = writer.get_extra_info("peername")  # None when it has left already
        if client is None or not is_own(client) or len(self._open) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._open.add(writer)
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    raw = await self._next(reader)
                    answer = await self._answer(raw)
                    if answer is None:
                        return
                    writer.write(len(answer).to_bytes(_LENGTH) + answer)
                    await writer.drain()
        except (EOFError, OSError, TimeoutError) as error:
            log.debug("a TCP client: %r", error)
        finally:
            self._open.discard(writer)
            writer.close()

    def close(self) -> None:
        for writer in tuple(self._open):
            writer.close()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(_LENGTH)))

    async def _answer(self, raw: bytes) -> bytes | None:
        found = self.resolver.read(raw)
        return await self.resolver.answer(found, LARGEST) if isinstance(found, Query) else found
