"""DNS over TLS (RFC 7858): one connection for each server, questions side by side on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
from dataclasses import dataclass, field

from gatepost.errors import Malformed, UnreachableError
from gatepost.model.names import Address, NameServer
from gatepost.net.dial import dial
from gatepost.net.tasks import Tasks
from gatepost.sessions.dns_messages import Message, Query, padded, question_for, read_answer

log = logging.getLogger(__name__)

CONNECT = 4.0  # seconds for TCP and TLS
IDLE = 20.0  # seconds without an answer, after which a connection is closed
MOST_CONNECTIONS = 16
MOST_WAITING = 256  # questions on one connection
LENGTH = 2  # bytes before a message
NUMBERS = 1 << 16

Key = tuple[NameServer, tuple[Address, ...]]


def tls_context(*protocols: str) -> ssl.SSLContext:
    """Trust what the operating system trusts. Blocks for 10 ms."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


async def connect(
    server: NameServer, addresses: tuple[Address, ...], context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server that proves its name; raise `OSError` or `UnreachableError`."""
    async with asyncio.timeout(CONNECT):
        sock = await dial(
            server.host, server.port, seconds=CONNECT, addresses=[str(a) for a in addresses]
        )
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server.host)


@dataclass(slots=True)
class Line:
    """One connection. `waiting` are the questions by their numbers."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    waiting: dict[int, tuple[Message, asyncio.Future[Message]]] = field(
        default_factory=dict[int, tuple[Message, asyncio.Future[Message]]]
    )
    is_closed: bool = False

    async def ask(self, query: Query) -> Message:
        """Ask and wait for as long as the caller does; raise `UnreachableError`."""
        number = secrets.randbelow(NUMBERS)
        while number in self.waiting:
            number = secrets.randbelow(NUMBERS)
        question = question_for(query, number)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.waiting[number] = question, answer
        try:
            self.writer.write(padded(question).to_wire(prepend_length=True))
            await self.writer.drain()
            return await answer
        finally:
            self.waiting.pop(number, None)

    async def read(self) -> None:
        """Give out answers until the connection ends."""
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    length = int.from_bytes(await self.reader.readexactly(LENGTH))
                    raw = await self.reader.readexactly(length)
                self._take(raw)
        except (OSError, EOFError, TimeoutError) as error:
            log.debug("a connection to a name server ends: %r", error)
        finally:
            self.is_closed = True
            for _, answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(UnreachableError("the name server hung up"))
            self.writer.transport.abort()

    def _take(self, raw: bytes) -> None:
        question, answer = self.waiting.get(int.from_bytes(raw[:2]), (None, None))
        if question is None or answer is None or answer.done():
            return  # the asker did not wait for it
        try:
            answer.set_result(read_answer(raw, question))
        except Malformed as error:
            answer.set_exception(error)


class TlsServers:
    """The connections. `close` it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context`, if given, takes the place of the operating system's trust."""
        self._context = context
        self._lines = dict[Key, Line]()
        self._connecting = dict[NameServer, asyncio.Lock]()
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    async def ask(
        self, server: NameServer, addresses: tuple[Address, ...], query: Query
    ) -> Message:
        """Ask a server; raise `OSError`, `EOFError` or a `GatepostError`."""
        line = await self._line(server, addresses)
        if len(line.waiting) >= MOST_WAITING:
            raise UnreachableError(f"{server}: {MOST_WAITING} questions wait for it already")
        return await line.ask(query)

    async def _line(self, server: NameServer, addresses: tuple[Address, ...]) -> Line:
        key = server, addresses
        async with self._connecting.setdefault(server, asyncio.Lock()):
            line = self._lines.get(key)
            if line is None or line.is_closed:
                line = self._lines[key] = await self._open(server, addresses)
                self._tasks.spawn(self._keep(key, line), f"answers of {server}")
            return line

    async def _open(self, server: NameServer, addresses: tuple[Address, ...]) -> Line:
        if len(self._lines) >= MOST_CONNECTIONS:
            raise UnreachableError(f"{server}: {MOST_CONNECTIONS} connections are open already")
        if self._context is None:
            self._context = await asyncio.to_thread(tls_context)
        return Line(*await connect(server, addresses, self._context))

    async def _keep(self, key: Key, line: Line) -> None:
        try:
            await line.read()
        finally:
            with contextlib.suppress(KeyError):
                if self._lines[key] is line:
                    del self._lines[key]
