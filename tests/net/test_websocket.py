"""The promises of the byte stream over WebSocket, for Noise and for any owner."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.net.control_bed import MACHINE, SERVER, bed
from tests.net.serving import read_until, serving
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from gatepost.net.control_server import ControlRequest, ControlResponse
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.websocket import WebSocketStream, accept_websocket
from gatepost.sessions.h2_client import Arrived, ClientEvent, ClientSession, Ended
from gatepost.wire import noise

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3


class Echo(asyncio.Protocol):
    """Sends everything back, in upper case; closes at a full stop."""

    def __init__(self, transport: asyncio.Transport, rest: bytes) -> None:
        self._transport = transport
        self.lost = 0
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data.upper())
        if b"." in data:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.lost += 1


async def echo(request: Request) -> Response | Upgrade:
    return accept_websocket(request, "echo", Echo)


def hello(path: bytes, protocol: bytes, key: bytes = KEY, version: bytes = b"13") -> bytes:
    return (
        b"GET " + path + b" HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: " + version + b"\r\nSec-WebSocket-Protocol: x, " + protocol
        + b"\r\nSec-WebSocket-Key: " + key + b"\r\nOrigin: http://elsewhere\r\n\r\n"
    )  # fmt: skip


class Browser:
    """The other end, as far as a browser goes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = Connection(ConnectionType.CLIENT)

    def send(self, event: Event) -> None:
        self._writer.write(self._connection.send(event))

    def write(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def next(self) -> list[Event]:
        async with asyncio.timeout(10):
            arrived = await self._reader.read(1 << 16)
        if not arrived:
            raise EOFError
        self._connection.receive_data(arrived)
        return list(self._connection.events())

    async def read(self, count: int) -> bytes:
        plain = b""
        while len(plain) < count:
            for event in await self.next():
                assert isinstance(event, BytesMessage)
                plain += event.data
        return plain

    async def close_code(self) -> int:
        while True:
            for event in await self.next():
                if isinstance(event, CloseConnection):
                    return event.code


async def test_bytes_travel_in_messages_whose_borders_mean_nothing() -> None:
    async with serving(echo) as server, server.connect() as (reader, writer):
        writer.write(hello(b"/", b"echo"))
        head = await read_until(reader, b"\r\n\r\n")
        browser = Browser(reader, writer)
        browser.send(BytesMessage(data=b"one ", message_finished=False))
        browser.send(BytesMessage(data=b"two "))
        browser.send(BytesMessage(data=b""))
        browser.send(BytesMessage(data=b"x" * 200_000))
        echoed = await browser.read(200_008)

    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455 1.3
    assert b"sec-websocket-protocol: echo\r\n" in head.lower()
    assert echoed == b"ONE TWO " + b"X" * 200_000


async def test_a_ping_is_answered_between_the_parts_of_a_message() -> None:
    async with serving(echo) as server, server.connect() as (reader, writer):
        writer.write(hello(b"/", b"echo"))
        await read_until(reader, b"\r\n\r\n")
        browser = Browser(reader, writer)
        browser.send(Ping(payload=b"p"))
        events = await browser.next()

    assert events == [Pong(payload=b"p")]


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (hello(b"/", b"other"), b"sub-protocol"),
        (hello(b"/", b"echo", key=b"short"), b"Sec-WebSocket-Key"),
        (hello(b"/", b"echo", key=b"%%%%"), b"Sec-WebSocket-Key"),
        (hello(b"/", b"echo", version=b"8"), b"version"),
        (b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"expected"),
    ],
)
async def test_a_request_that_is_no_websocket_is_refused_with_the_reason(
    asked: bytes, word: bytes
) -> None:
    async with serving(echo) as server, server.connect() as (reader, writer):
        writer.write(asked)
        head = await read_until(reader, b"\r\n\r\n")
        body = await reader.read(300)

    assert head.startswith(b"HTTP/1.1 400")
    assert word in body


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (Connection(ConnectionType.CLIENT).send(TextMessage(data="hi")), 1003),
        (b"\x82\x01x", 1002),  # not masked
        (b"\xf2\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (Connection(ConnectionType.CLIENT).send(CloseConnection(code=1001)), 1001),
        (Connection(ConnectionType.CLIENT).send(BytesMessage(data=b"bye.")), 1000),
    ],
)
async def test_the_closing_says_why(sent: bytes, code: int) -> None:
    async with serving(echo) as server, server.connect() as (reader, writer):
        writer.write(hello(b"/", b"echo"))
        await read_until(reader, b"\r\n\r\n")
        browser = Browser(reader, writer)
        browser.write(sent)

        assert await browser.close_code() == code


async def test_noise_runs_over_websocket_with_the_handshake_in_the_query() -> None:
    async def handler(request: ControlRequest) -> ControlResponse:
        return ControlResponse(body=request.body.upper())

    start = noise.Initiation(MACHINE, SERVER.public, 131, bytes(range(32)))
    path = "/ts2021?X-Tailscale-Handshake=" + quote(base64.b64encode(start.message).decode(), "")
    async with bed(handler) as door, door.address.connect() as (reader, writer):
        writer.write(hello(path.encode(), b"tailscale-control-protocol"))
        await read_until(reader, b"\r\n\r\n")
        browser = Browser(reader, writer)
        opening = b""
        while len(opening) < noise.RESPONSE_LENGTH:
            opening += await browser.read(1)
        session = ClientSession(start.finish(opening[: noise.RESPONSE_LENGTH]), "test")
        session.request("POST", "/x", b"body")
        browser.send(BytesMessage(data=session.take()))
        events: list[ClientEvent] = session.receive(opening[noise.RESPONSE_LENGTH :])
        while Ended(1) not in events:
            events += session.receive(await browser.read(1))

    assert b"".join(e.piece for e in events if isinstance(e, Arrived)) == b"BODY"


class Pipe(asyncio.Transport):
    """A transport that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=20))
def test_no_input_does_more_than_close_the_stream(garbage: bytes, step: int) -> None:
    pipe = Pipe()
    stream = WebSocketStream(pipe, ConnectionType.SERVER).start(Echo, b"")
    for start in range(0, len(garbage), step):
        stream.data_received(garbage[start : start + step])
        if pipe.is_closed:
            break
    stream.connection_lost(None)

    assert isinstance(stream.outer.owner, Echo)
    assert stream.outer.owner.lost == 1
