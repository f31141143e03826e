"""A DERP server on loopback TLS, our own clients, and raw connections that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path

from tests.net.serving import serving
from tests.net.waiting import eventually

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.derp_client import DerpClients
from gatepost.net.derp_server import DerpServer
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.meta_certificate import meta_certificate
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import Insecure, client_context, server_context, utc_now
from gatepost.sessions.derp_client import DerpSession, Ready
from gatepost.sessions.derp_member import RelayLimits
from gatepost.testing.makers import make_private

REGION = 900
HOST = "relay.example"


class Clock:
    """The loop's seconds, and those that a test lets pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.passed


@dataclass
class Bed:
    """The server and how to reach it."""

    server: DerpServer
    clock: Clock
    port: int
    pin: str
    refused: set[NodePublic]

    def region(
        self, *, pin: str | None = None, port: int = 0, insecure: bool = False
    ) -> DerpRegion:
        node = DerpNode(
            name="900a",
            host=HOST,
            port=port or self.port,
            address_v4=IPv4Address("127.0.0.1"),
            certificate_name=self.pin if pin is None else pin,
            insecure=insecure,
        )
        return DerpRegion(id=REGION, code="lab", name="Lab", nodes=(node,))

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect over TLS without a word."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=client_context(Insecure("")), server_hostname=HOST
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def greeted(
        self, private: NodePrivate, mesh_key: str = ""
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect and be admitted; what comes then is the test's to read, or not."""
        async with self.raw() as (reader, writer), asyncio.timeout(10):
            await greet(private, reader, writer, mesh_key)
            yield reader, writer


@dataclass
class Node:
    """One of our clients and what it heard."""

    key: NodePublic
    clients: DerpClients
    packets: list[tuple[NodePublic, bytes]] = field(default_factory=list)
    gone: list[tuple[NodePublic, int]] = field(default_factory=list)
    octets: int = 0

    def send(self, other: NodePublic, payload: bytes) -> None:
        assert self.clients.send(REGION, other, payload)

    @property
    def problem(self) -> str:
        return self.clients.states()[REGION].problem


def _ignore(source: NodePublic, payload: bytes) -> None:
    """Hear no packets."""


async def greet(
    private: NodePrivate,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    mesh_key: str = "",
) -> None:
    """Go through the greeting on a raw connection."""
    session = DerpSession(private, host=HOST, nonce=bytes(24), on_packet=_ignore, mesh_key=mesh_key)
    writer.write(session.begin())
    events: list[object] = []
    while not any(isinstance(event, Ready) for event in events):
        found = await reader.read(4096)
        if not found:
            raise ConnectionResetError("the server closed the connection")
        new, answer = session.receive(found)
        events += new
        writer.write(answer)


@contextlib.asynccontextmanager
async def relaying(
    folder: Path,
    *,
    limits: RelayLimits | None = None,
    admits: bool = True,
    number: int = 99,
    mesh_key: str = "",
) -> AsyncGenerator[Bed]:
    """Run a DERP server with a certificate of its own; `number` is its key's."""
    certificate = own_certificate(folder / "derp.pem", (HOST, "127.0.0.1"), utc_now())
    refused: set[NodePublic] = set()

    async def admit(key: NodePublic, address: str) -> bool:
        assert address == "127.0.0.1"
        return admits and key not in refused

    clock = Clock()
    private = make_private(number)
    server = DerpServer(private, admit, mesh_key=mesh_key, limits=limits, clock=clock)

    async def handle(request: Request) -> Response | Upgrade:
        return server.handle(request)

    meta = meta_certificate(private.public, utc_now())
    context: ssl.SSLContext = server_context(certificate.path, more=meta)
    async with serving(handle, tls=context) as address:
        try:
            yield Bed(server, clock, address.port, certificate.pin, refused)
        finally:
            await server.close()


@contextlib.asynccontextmanager
async def joined(
    bed: Bed,
    number: int,
    *,
    region: DerpRegion | None = None,
    home: bool = True,
    today: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[Node]:
    """Run our own client; with `home`, and the right region, wait until it is connected."""
    private = make_private(number)
    node: Node

    def on_packet(_: int, source: NodePublic, payload: bytes) -> None:
        node.packets.append((source, payload))
        node.octets += len(payload)

    def on_peer_gone(_: int, peer: NodePublic, reason: int) -> None:
        node.gone.append((peer, reason))

    clients = DerpClients(
        private, on_packet, on_peer_gone=on_peer_gone, clock=bed.clock, today=today
    )
    node = Node(private.public, clients)
    clients.set_regions((region or bed.region(),))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(clients.run())
        try:
            if home:
                clients.set_home(REGION)
                if region is None:
                    await eventually(lambda: clients.connected(REGION))
            yield node
        finally:
            running.cancel()
