"""One connection of a DERP server: the greeting, then the relay's packets.

The same code serves TLS and WebSocket. Over TLS it is a BufferedProtocol that
reads into one buffer which all connections share: `get_buffer` and
`buffer_updated` run back to back, and what is left of a frame is kept aside.
Reads of one turn follow each other in it while the relay gathers from it:

    | packets of a | of b | of c | next read …
    0                            relay.gathered
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from gatepost.errors import WireError
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.net.http_peer import peer_of
from gatepost.sessions.derp_handshake import DEADLINE, GREETING_LIMIT, Hello, ServerHandshake
from gatepost.sessions.derp_member import Client, Who
from gatepost.sessions.derp_rest import Rest
from gatepost.sessions.derp_server import Relay
from gatepost.sessions.token_bucket import Pace
from gatepost.wire.derp import HEADER_LENGTH, PACKET_LIMIT
from gatepost.wire.derp_present import PresentFlag

log = logging.getLogger(__name__)

READ_SIZE = 256 << 10  # octets that one turn reads from one client at most
FRAME_LIMIT = HEADER_LENGTH + KEY_LENGTH + PACKET_LIMIT  # octets; more is not for a relay
WRITE_HIGH = 64 << 10  # octets in the transport above which packets wait here instead
USER_TIMEOUT = 30_000  # milliseconds until the kernel gives up a peer that acknowledges nothing
UNSENT_LIMIT = 128 << 10  # octets not sent yet in the kernel: the queue belongs here, not there
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; not in the socket module


class ReadBuffer:
    """Memory for what one turn reads, `gather` octets and one read on top of them."""

    def __init__(self, gather: int) -> None:
        self.octets = bytearray(gather + READ_SIZE + FRAME_LIMIT)
        self.view = memoryview(self.octets)


class Host(Protocol):
    """What a connection needs of its server."""

    @property
    def relay(self) -> Relay: ...
    @property
    def handshake(self) -> ServerHandshake: ...
    @property
    def buffer(self) -> ReadBuffer: ...
    @property
    def rest(self) -> Rest: ...
    @property
    def random(self) -> Callable[[int], bytes]: ...
    @property
    def now(self) -> Callable[[], float]: ...
    def admit(self, hello: Hello, address: str) -> Awaitable[str]:
        """Return why the client may not enter, "" if it may."""
        ...

    def is_mesh(self, hello: Hello) -> bool: ...
    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None: ...
    def opened(self, connection: DerpConnection) -> None: ...
    def proven(self, connection: DerpConnection) -> None: ...
    def closed(self, connection: DerpConnection) -> None: ...


class DerpConnection:
    """One client, from the upgrade to its end; `Output` of the relay.

    A subclass says which kind of asyncio protocol it is.
    """

    def __init__(self, host: Host, transport: asyncio.Transport, flags: PresentFlag) -> None:
        self._host = host
        self._flags = flags
        self._transport = transport
        self._client: Client | None = None
        self._rest = b""
        self._admitting = False
        # TLS encrypts inside write(); plain TCP may keep what it was given, and the buffer changes
        self._copies = transport.get_extra_info("ssl_object") is None
        self.address = peer_of(transport).address
        self._port = _port_of(transport)
        self.deadline = host.now() + DEADLINE

    def start(self, rest: bytes) -> None:
        """Greet the client and read what it sent already."""
        self._host.opened(self)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        _tune(self._transport)
        self._transport.write(self._host.handshake.greeting())
        if rest:
            self.data_received(rest)

    # --- the relay's side -----------------------------------------------------
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._copies:
            self._transport.write(data)
        elif not self._transport.is_closing():  # asyncio's complains
            self._transport.write(bytes(data))

    def close(self, reason: str) -> None:
        log.info("derp: closing %s: %s", self._name, reason)
        self._transport.abort()

    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """End the connection after what is written was sent."""
        self._transport.close()

    # --- asyncio's side -------------------------------------------------------
    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        view, start = self._host.buffer.view, self._host.relay.gathered
        free = start + len(self._rest)
        view[start:free] = self._rest
        return view[free : start + READ_SIZE + FRAME_LIMIT]

    def buffer_updated(self, nbytes: int) -> None:
        self._received(len(self._rest) + nbytes)

    def data_received(self, data: bytes) -> None:
        buffer = self._host.buffer
        for start in range(0, len(data), READ_SIZE):
            piece = self._rest + data[start : start + READ_SIZE]
            free = self._host.relay.gathered
            buffer.view[free : free + len(piece)] = piece
            self._received(len(piece))

    def pause_writing(self) -> None:
        if self._client is not None:
            self._client.outbox.block(self._host.now())

    def resume_writing(self) -> None:
        if self._client is not None:
            self._client.outbox.unblock()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the same either way
        if self._client is not None:
            self._host.relay.leave(self._client)
        self._host.closed(self)

    # --- bytes ------------------------------------------------------------------
    def _received(self, count: int) -> None:
        if self._transport.is_closing():
            return
        host = self._host
        buffer, start = host.buffer, host.relay.gathered
        end = start + count
        try:
            if self._client is None:
                self._rest = bytes(buffer.view[start:end])
                self._greet()
                return
            now = host.now()
            host.rest.on_read(count, now)
            used = host.relay.receive(self._client, buffer.octets, end, now, start)
            if count - used >= FRAME_LIMIT:
                self.close(f"a frame is longer than {FRAME_LIMIT} octets")
                return
        except WireError as error:
            self.close(str(error))
            return
        self._rest = bytes(buffer.view[start + used : end])
        if self._client.pace is not None:
            self._keep_pace(self._client, self._client.pace, used)

    def _keep_pace(self, client: Client, pace: Pace, octets: int) -> None:
        """Read no more until the client may send more: TCP tells it to wait, nothing is lost."""
        wait = pace.spend(octets, self._host.now())
        if wait > 0:
            client.slowed += 1
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(wait, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _greet(self) -> None:
        if self._admitting:
            if len(self._rest) > READ_SIZE:
                self.close("too much was sent before the answer")
            return
        found = self._host.handshake.read_hello(self._rest[: GREETING_LIMIT + HEADER_LENGTH])
        if found is None:
            return
        hello, length = found
        self._rest = self._rest[length:]
        self._admitting = True
        self._transport.pause_reading()
        self._host.spawn(lambda: self._admit(hello), "derp admission")

    async def _admit(self, hello: Hello) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                problem = await self._host.admit(hello, self.address)
        except TimeoutError:
            self.close(f"nobody said within {DEADLINE:.0f} s whether {hello.key.short} may enter")
            return
        if self._transport.is_closing():
            return
        if not problem and self._host.relay.full:
            problem = "the relay is full"
        if problem:
            self.close(f"{hello.key.short} is refused: {problem}")
            return
        self._enter(hello)

    def _enter(self, hello: Hello) -> None:
        host = self._host
        flags = self._flags
        if host.is_mesh(hello):
            flags |= PresentFlag.MESH_PEER
        if hello.greeting.is_prober:
            flags |= PresentFlag.PROBER
        who = Who(address=self.address, port=self._port, flags=flags or PresentFlag.REGULAR)
        jitter = int.from_bytes(host.random(2), "big") * 5 / 0xFFFF
        self._transport.write(host.handshake.welcome(hello.key, host.random(24)))
        self._client = host.relay.join(hello.key, self, who=who, now=host.now(), jitter=jitter)
        host.proven(self)
        self._transport.resume_reading()
        early, self._rest = self._rest, b""
        if early:
            self.data_received(early)

    @property
    def _name(self) -> str:
        who = "a stranger" if self._client is None else self._client.key.short
        return f"{who} at {self.address}"


class BufferedConnection(DerpConnection, asyncio.BufferedProtocol):
    """A DERP connection on a transport that reads into our memory."""


class StreamedConnection(DerpConnection, asyncio.Protocol):
    """A DERP connection on a transport that brings its own bytes (WebSocket)."""


def _port_of(transport: asyncio.Transport) -> int:
    match transport.get_extra_info("peername"):
        case (_, int(port), *_):
            return port
        case _:
            return 0  # a Unix socket


def _tune(transport: asyncio.Transport) -> None:
    """Find dead peers soon, and keep the queue where packets can still be dropped."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # it may be closed already; the next read will tell
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
