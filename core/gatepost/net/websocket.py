"""A stream of bytes over WebSocket's binary messages (RFC 6455), for `Upgrade`.

Browser clients cannot upgrade to anything else. Message boundaries mean
nothing here. What owns the stream sees an ordinary asyncio transport, so that
Noise and DERP serve both kinds of client with the same code.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from gatepost.net.http_server import Request, Response, Takeover, Upgrade

_VERSION = "13"


def is_websocket(request: Request) -> bool:
    """Say whether a client asks for WebSocket rather than for another upgrade."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def accept_websocket(request: Request, protocol: str, take: Takeover) -> Response | Upgrade:
    """Answer a GET that asks for WebSocket with the sub-protocol `protocol`.

    `take` gets a transport whose bytes travel in binary messages. Any origin
    is let in: what flows inside proves itself.
    """
    problem = _problem(request, protocol)
    if problem:
        return Response(
            status=400,
            body=problem.encode() + b"\n",
            content_type="text/plain",
            headers=(("Sec-WebSocket-Version", _VERSION),),
        )
    token = generate_accept_token(request.headers["sec-websocket-key"].encode("latin-1"))
    return Upgrade(
        protocol="websocket",
        take=lambda transport, rest: WebSocketStream(transport, ConnectionType.SERVER).start(
            take, rest
        ),
        headers=(
            ("Sec-WebSocket-Accept", token.decode("ascii")),
            ("Sec-WebSocket-Protocol", protocol),
        ),
    )


def _problem(request: Request, protocol: str) -> str:
    if request.method != "GET" or not is_websocket(request):
        return "a WebSocket is expected here"
    if request.headers.get("sec-websocket-version") != _VERSION:
        return f"WebSocket version {_VERSION} is expected here"
    offered = [p.strip() for p in request.headers.get("sec-websocket-protocol", "").split(",")]
    if protocol not in offered:
        return f"the WebSocket sub-protocol {protocol} is expected here"
    try:
        key = base64.b64decode(request.headers.get("sec-websocket-key", ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    return "" if len(key) == 16 else "Sec-WebSocket-Key is not 16 bytes in base64"  # noqa: PLR2004  # RFC 6455 4.1


class WebSocketStream(asyncio.Protocol):
    """Turns messages into bytes and back, between a transport and the stream's owner."""

    def __init__(self, transport: asyncio.Transport, side: ConnectionType) -> None:
        self._transport = transport
        self._connection = Connection(side)
        self.outer = StreamTransport(transport, self)

    def start(self, take: Takeover, rest: bytes) -> WebSocketStream:
        """Let `take` name the owner, then read what came behind the handshake."""
        owner = take(self.outer, b"")
        assert isinstance(owner, asyncio.Protocol)  # noqa: S101  # ours are, all of them
        self.outer.set_protocol(owner)
        if rest:
            self.data_received(rest)
        return self

    def write(self, piece: bytes) -> None:
        """Send one binary message; nothing once the closing has begun."""
        if piece and self._connection.state is ConnectionState.OPEN:
            self._transport.write(self._connection.send(BytesMessage(data=piece)))

    def finish(self) -> None:
        """Begin the closing and close."""
        self._close(CloseReason.NORMAL_CLOSURE)

    # --- asyncio's side -----------------------------------------------------
    def data_received(self, data: bytes) -> None:
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                if not self._on_event(event):
                    return
        except RemoteProtocolError as error:
            hint = error.event_hint
            reason = hint.code if isinstance(hint, CloseConnection) else CloseReason.PROTOCOL_ERROR
            self._close(reason)

    def eof_received(self) -> bool:
        return bool(self.outer.owner.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self.outer.owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.outer.owner.pause_writing()

    def resume_writing(self) -> None:
        self.outer.owner.resume_writing()

    # --- messages -------------------------------------------------------------
    def _on_event(self, event: object) -> bool:
        """Deal with one event; return whether the connection goes on."""
        match event:
            case BytesMessage():
                if event.data and not self.outer.is_closing():
                    self.outer.owner.data_received(bytes(event.data))
            case Ping():
                if self._connection.state is ConnectionState.OPEN:
                    self._transport.write(self._connection.send(event.response()))
            case CloseConnection():
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    self._transport.write(self._connection.send(event.response()))
                self._close(event.code)  # writes only if wsproto found a wrong frame itself
                return False
            case _:  # text: nobody here speaks it
                self._close(CloseReason.UNSUPPORTED_DATA)
                return False
        return True

    def _close(self, code: int) -> None:
        if self._connection.state is ConnectionState.OPEN and not self._transport.is_closing():
            self._transport.write(self._connection.send(CloseConnection(code=code)))
        self._transport.close()


class StreamTransport(asyncio.Transport):
    """What the stream's owner writes to. All but the framing is the real transport's."""

    def __init__(self, inner: asyncio.Transport, stream: WebSocketStream) -> None:
        super().__init__()
        self._inner = inner
        self._stream = stream
        self.owner = asyncio.Protocol()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._stream.write(bytes(data))

    def close(self) -> None:
        self._stream.finish()

    def abort(self) -> None:
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # asyncio's signature
        return self._inner.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)  # noqa: S101  # streams have no other kind
        self.owner = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.owner

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    def is_reading(self) -> bool:
        return self._inner.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size()
