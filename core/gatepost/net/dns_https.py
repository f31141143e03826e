"""DNS over HTTPS (RFC 8484): HTTP/2 on one connection for each server, or HTTP/1.1.

`http` is the same in the clear, for peers inside the mesh: a connection for each question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass, field

from gatepost.errors import GatepostError, UnreachableError
from gatepost.model.names import PORTS, Address, NameServer
from gatepost.net.dns_tls import connect, tls_context
from gatepost.net.fetch import Question, fetch
from gatepost.net.tasks import Tasks
from gatepost.sessions.dns_messages import Message, Query, padded, question_for, read_answer
from gatepost.sessions.doh import DohSession, problem_with
from gatepost.sessions.doh_requests import MEDIA_TYPE

log = logging.getLogger(__name__)

PATIENCE = 4.5  # seconds for an answer by HTTP/1.1
IDLE = 30.0  # seconds without an answer, after which a connection is closed
MOST_CONNECTIONS = 16
MOST_WAITING = 100  # questions on one connection; what servers usually allow
_READ_SIZE = 16 << 10  # bytes

Key = tuple[NameServer, tuple[Address, ...]]


@dataclass(slots=True)
class Line:
    """One connection that speaks HTTP/2. `waiting` are the questions by their streams."""

    session: DohSession
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    waiting: dict[int, asyncio.Future[bytes]] = field(
        default_factory=dict[int, asyncio.Future[bytes]]
    )
    is_closed: bool = False

    async def ask(self, question: bytes) -> bytes:
        """Ask and wait for as long as the caller does; raise `UnreachableError`."""
        stream = self.session.ask(question)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting[stream] = answer
        try:
            self.writer.write(self.session.take())
            await self.writer.drain()
            return await answer
        finally:
            self.waiting.pop(stream, None)
            self.session.forget(stream)

    async def read(self) -> None:
        """Give out answers until the connection ends."""
        try:
            while not self.session.is_over:
                async with asyncio.timeout(IDLE):
                    arrived = await self.reader.read(_READ_SIZE)
                if not arrived:
                    return
                for reply in self.session.receive(arrived):
                    answer = self.waiting.get(reply.stream)
                    if answer is None or answer.done():
                        continue
                    if reply.problem:
                        answer.set_exception(UnreachableError(reply.problem))
                    else:
                        answer.set_result(reply.body)
                self.writer.write(self.session.take())
        except (OSError, EOFError, TimeoutError, GatepostError) as error:
            log.debug("a connection to a name server ends: %r", error)
        finally:
            self.is_closed = True
            for answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(UnreachableError("the name server hung up"))
            self.writer.transport.abort()


class HttpServers:
    """The connections. `close` it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context`, if given, takes the place of the operating system's trust."""
        self._context = context
        self._lines = dict[Key, Line]()
        self._connecting = dict[NameServer, asyncio.Lock]()
        self._is_old = set[NameServer]()  # speak HTTP/1.1 alone
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    async def ask(
        self, server: NameServer, addresses: tuple[Address, ...], query: Query
    ) -> Message:
        """Ask a server; raise `OSError`, `EOFError` or a `GatepostError`."""
        question = question_for(query, 0)
        if server.transport == "http":
            raw = await self._ask_once(server, addresses, question.to_wire())
        else:
            wire = padded(question).to_wire()
            line = None if server in self._is_old else await self._line(server, addresses)
            if line is None:
                raw = await self._ask_once(server, addresses, wire)
            else:
                raw = await line.ask(wire)
        return read_answer(raw, question)

    async def _ask_once(
        self, server: NameServer, addresses: tuple[Address, ...], wire: bytes
    ) -> bytes:
        question = Question(
            host=server.host,
            port=server.port,
            target=server.path,
            headers={"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE},
            body=wire,
            addresses=[str(a) for a in addresses],
        )
        tls = await self._trust() if server.transport == "https" else None
        reply = await fetch(question, seconds=PATIENCE, tls=tls)
        media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if problem := problem_with(reply.status, media_type):
            raise UnreachableError(f"{server}: {problem}")
        return reply.body

    async def _line(self, server: NameServer, addresses: tuple[Address, ...]) -> Line | None:
        """Return a connection that takes a question; None if the server has no HTTP/2."""
        key = server, addresses
        async with self._connecting.setdefault(server, asyncio.Lock()):
            line = self._lines.get(key)
            if line is None or line.is_closed or line.session.is_over:
                line = await self._open(server, addresses)
                if line is None:
                    self._is_old.add(server)
                    return None
                self._lines[key] = line
                self._tasks.spawn(self._keep(key, line), f"answers of {server}")
        if len(line.waiting) >= MOST_WAITING:
            raise UnreachableError(f"{server}: {MOST_WAITING} questions wait for it already")
        return line

    async def _open(self, server: NameServer, addresses: tuple[Address, ...]) -> Line | None:
        if len(self._lines) >= MOST_CONNECTIONS:
            raise UnreachableError(f"{server}: {MOST_CONNECTIONS} connections are open already")
        reader, writer = await connect(server, addresses, await self._trust())
        tls: object = writer.get_extra_info("ssl_object")
        if not isinstance(tls, ssl.SSLObject) or tls.selected_alpn_protocol() != "h2":
            writer.transport.abort()
            return None
        return Line(DohSession(authority(server), server.path), reader, writer)

    async def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = await asyncio.to_thread(tls_context, "h2", "http/1.1")
        return self._context

    async def _keep(self, key: Key, line: Line) -> None:
        try:
            await line.read()
        finally:
            with contextlib.suppress(KeyError):
                if self._lines[key] is line:
                    del self._lines[key]


def authority(server: NameServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return host if server.port == PORTS[server.transport] else f"{host}:{server.port}"
