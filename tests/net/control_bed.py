"""A coordination server's door on loopback, with whatever handler a test gives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from tests.net.serving import Address, serving

from gatepost.model.keys import MachinePrivate
from gatepost.net.control_address import Server, Way
from gatepost.net.control_client import CAPABILITY_VERSION, WATCHDOG, ControlClient
from gatepost.net.control_dial import Dialler, Line
from gatepost.net.control_server import (
    ControlHandler,
    ControlRequest,
    ControlResponse,
    Limits,
    NoiseServer,
)
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.sessions.h2_client import ClientEvent, ClientSession
from gatepost.wire.go_json import write_json
from gatepost.wire.register import ServerKeys

SERVER = MachinePrivate(bytes(range(1, 33)))
MACHINE = MachinePrivate(bytes(range(33, 65)))


@dataclass(frozen=True, slots=True)
class Bed:
    """The door and the way to it."""

    address: Address
    noise: NoiseServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address.port}"

    @contextlib.asynccontextmanager
    async def client(
        self, *, version: int = CAPABILITY_VERSION, watchdog: float = WATCHDOG
    ) -> AsyncGenerator[ControlClient]:
        client = ControlClient(
            self.url, MACHINE, version=version, watchdog=watchdog, sign_of_life=0.2
        )
        try:
            yield client
        finally:
            await client.close()

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncGenerator[RawClient]:
        """Connect with a session of which every step is the test's."""
        server = Server(Way("127.0.0.1", self.address.port, is_tls=False))
        line = await Dialler(server, MACHINE, CAPABILITY_VERSION).dial(SERVER.public)
        try:
            yield RawClient(line)
        finally:
            line.writer.transport.abort()


class RawClient:
    """A client that sends and reads only when it is told to."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.session = ClientSession(line.transport, "test")
        self._rest = line.rest

    async def ignore_windows(self, streams: Sequence[int]) -> None:
        """Let the server send without end."""
        for stream in streams:
            self.session._h2.increment_flow_control_window(1 << 30, stream)  # pyright: ignore[reportPrivateUsage]  # a client that misbehaves
        self.session._h2.increment_flow_control_window(1 << 30)  # pyright: ignore[reportPrivateUsage]  # as above
        await self.flush()

    def pings(self, count: int) -> bytes:
        """Return records with that many PING frames."""
        frame = bytes.fromhex("000008 06 00 00000000 0102030405060708")
        return self.session.take() + self.line.transport.seal(frame * count)

    async def flush(self) -> None:
        self.line.writer.write(self.session.take())
        await self.line.writer.drain()

    async def read(self) -> list[ClientEvent]:
        """Read once; no events and no bytes left means the server has closed."""
        arrived, self._rest = self._rest, b""
        async with asyncio.timeout(10):
            arrived = arrived or await self.line.reader.read(1 << 16)
        if not arrived:
            raise EOFError
        events = self.session.receive(arrived)
        await self.flush()
        return events

    async def until(self, kind: type[ClientEvent]) -> list[ClientEvent]:
        """Read until an event of one kind is among those that arrived."""
        events: list[ClientEvent] = []
        while not any(isinstance(event, kind) for event in events):
            events += await self.read()
        return events


async def ok(_request: ControlRequest) -> ControlResponse:
    return ControlResponse(body=b"ok")


class Holder:
    """Keeps every request until its client gives it up."""

    def __init__(self) -> None:
        self.running = 0
        self.closed = 0

    async def __call__(self, request: ControlRequest) -> ControlResponse:
        self.running += 1
        async with asyncio.timeout(60):
            await request.closed.wait()
        self.closed += 1
        return ControlResponse()

    async def until_closed(self, count: int) -> None:
        await eventually(lambda: self.closed == count)


class Silence:
    """Passes connections through to a port, until it swallows everything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.swallows = False

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with asyncio.TaskGroup() as self._group:
            yield server.sockets[0].getsockname()[1]
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._group.create_task(self._pass(reader, far_writer))
        self._group.create_task(self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(1 << 16):
                if not self.swallows:
                    writer.write(piece)
        writer.close()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something is so; fail after 10 seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # what is waited for belongs to the code under test
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def bed(
    handler: ControlHandler, *, limits: Limits | None = None, server: MachinePrivate = SERVER
) -> AsyncGenerator[Bed]:
    noise = NoiseServer(server, handler, limits=limits)

    async def front(request: Request) -> Response | Upgrade:
        if request.path == "/key":
            return Response(body=write_json(ServerKeys(public_key=SERVER.public)))
        return noise.upgrade(request)

    async with serving(front) as address:
        try:
            yield Bed(address, noise)
        finally:
            await noise.close()
