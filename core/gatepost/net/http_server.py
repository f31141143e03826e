"""A small HTTP/1.1 server on asyncio that can hand the connection over.

It exists because two things are asked of it that the web frameworks' servers
cannot do: an upgrade to a protocol that is not WebSocket (Noise, DERP) without
a copy of each byte, and the credentials of the process behind a Unix socket.
Parsing is h11's. One request at a time per connection; limits are arguments.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11

from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)

_SO_PEERGROUPS = 59  # asm-generic/socket.h; absent from the socket module
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: an IP address, or a process on this machine."""

    address: str = ""
    user_id: int | None = None
    group_id: int | None = None
    process_id: int | None = None
    groups: tuple[int, ...] = ()  # supplementary groups of that process


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. Header names are lower case; `query` keeps the last of repeated names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: Peer
    secure: bool  # came over TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer, or one whose body comes piece by piece from `stream`."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncIterator[bytes] | None = None


Takeover = Callable[[asyncio.Transport, bytes], asyncio.BaseProtocol]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """Answer 101 and give the connection away.

    `take` gets the transport and the bytes that arrived behind the request; it
    returns the protocol that owns the transport from then on. The server calls
    neither `connection_made` nor `data_received` on it for those bytes.
    `raw_response` replaces the 101 head, or `b""` sends none (DERP fast start).
    """

    protocol: str
    take: Takeover
    headers: tuple[tuple[str, str], ...] = ()
    raw_response: bytes | None = None


Handler = Callable[[Request], Awaitable[Response | Upgrade]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener allows."""

    body: int = 1 << 20  # octets
    connections: int = 4096
    idle: float = 60.0  # seconds without a whole request
    head: int = 16 << 10  # octets


@dataclass(slots=True)
class Listener:
    """What the connections of one listener share."""

    handler: Handler
    limits: Limits
    tasks: Tasks = field(default_factory=Tasks)
    connections: int = 0

    def protocol(self) -> HttpConnection:
        return HttpConnection(self)


class HttpConnection(asyncio.Protocol):
    """One connection, until it ends or is handed over."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=listener.limits.head)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._busy = False
        self._gone = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle: asyncio.TimerHandle | None = None

    # --- asyncio's side -----------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise
        self._transport = transport
        self._listener.connections += 1
        self._peer = peer_of(transport)
        if self._listener.connections > self._listener.limits.connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            return
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._leave()

    def eof_received(self) -> bool:
        # A half-closed client may still want its answer; TLS has no half-closed state.
        return self._busy and self._transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        if self._busy and len(self._h11.trailing_data[0]) > self._listener.limits.head:
            self._transport.abort()  # nobody sends that much before the answer
            return
        self._advance()

    # --- from bytes to requests ---------------------------------------------
    def _wait_for_request(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._listener.limits.idle, self._transport.close)

    def _advance(self) -> None:
        while not self._busy and not self._gone:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            match event:
                case h11.NEED_DATA | h11.PAUSED:
                    return
                case h11.Request():
                    self._request = event
                    self._body.clear()
                    if self._h11.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                case h11.Data():
                    self._body += event.data
                    if len(self._body) > self._listener.limits.body:
                        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
                        return
                case h11.EndOfMessage():
                    self._busy = True
                    self._listener.tasks.spawn(self._answer(), "http request")
                case _:  # ConnectionClosed
                    self._transport.close()
                    return

    def _parsed(self) -> Request:
        assert self._request is not None  # noqa: S101  # set before every EndOfMessage
        target = urlsplit(self._request.target.decode("latin-1"))
        return Request(
            method=self._request.method.decode("latin-1"),
            path=target.path,
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={k.decode("latin-1"): v.decode("latin-1") for k, v in self._request.headers},
            body=bytes(self._body),
            peer=self._peer,
            secure=self._transport.get_extra_info("ssl_object") is not None,
        )

    # --- answers --------------------------------------------------------------
    async def _answer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        try:
            answer = await self._listener.handler(self._parsed())
        except Exception:
            log.exception("a request handler failed")
            answer = Response(status=500, body=b'{"error":"internal error, see the log"}')
        if self._gone:
            return
        if isinstance(answer, Upgrade):
            self._hand_over(answer)
            return
        await self._respond(answer)
        self._next_request()

    def _hand_over(self, upgrade: Upgrade) -> None:
        if upgrade.raw_response is None:
            headers = (("Upgrade", upgrade.protocol), ("Connection", "upgrade"), *upgrade.headers)
            self._send(h11.InformationalResponse(status_code=101, headers=list(headers)))
        else:
            self._transport.write(upgrade.raw_response)
        rest = bytes(self._h11.trailing_data[0])
        self._leave()
        self._transport.set_protocol(upgrade.take(self._transport, rest))

    async def _respond(self, answer: Response) -> None:
        headers = [*answer.headers, ("Content-Type", answer.content_type)]
        if answer.stream is None:
            headers.append(("Content-Length", str(len(answer.body))))
        self._send(h11.Response(status_code=answer.status, headers=list(headers)))
        if answer.stream is None:
            self._send(h11.Data(data=answer.body))
        else:
            async for piece in answer.stream:
                if self._gone:
                    return
                self._send(h11.Data(data=piece))
                await self._writable.wait()
        self._send(h11.EndOfMessage())

    def _next_request(self) -> None:
        if self._gone:
            return
        if self._h11.our_state is h11.MUST_CLOSE:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._busy = False
        self._wait_for_request()
        self._advance()

    def _send(self, event: h11.Event) -> None:
        if self._gone or self._h11.our_state is h11.ERROR:
            return
        data = self._h11.send(event)
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _refuse(self, status: int, reason: str) -> None:
        self._busy = True
        body = reason.encode()
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [("Content-Length", str(len(body))), ("Connection", "close")]
            self._send(h11.Response(status_code=status, headers=list(headers)))
            self._send(h11.Data(data=body))
            self._send(h11.EndOfMessage())
        self._transport.close()

    def _leave(self) -> None:
        """Forget this connection; safe to call twice."""
        if self._gone:
            return
        self._gone = True
        self._writable.set()
        self._listener.connections -= 1
        if self._idle is not None:
            self._idle.cancel()


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Say who is at the other end of a connection."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        process, user, group = _CREDENTIALS.unpack(raw)
        return Peer(user_id=user, group_id=group, process_id=process, groups=_groups_of(sock))
    name = transport.get_extra_info("peername")
    return Peer(address=name[0] if name else "")


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    """Return the peer's supplementary groups, as they were when it connected (at most 256)."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError as error:
        log.warning("a peer's groups cannot be read, it counts as in none: %s", error)
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


@dataclass(slots=True)
class HttpServer:
    """Listening sockets with one handler behind them."""

    listener: Listener
    servers: list[asyncio.Server]

    async def close(self) -> None:
        """Stop listening and end the requests that still run."""
        for server in self.servers:
            server.close()
        await self.listener.tasks.close()


async def serve(
    handler: Handler,
    sockets: Sequence[socket.socket],
    *,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
) -> HttpServer:
    """Answer on sockets that are bound already (`listen` is called here)."""
    loop = asyncio.get_running_loop()
    listener = Listener(handler, limits or Limits())
    servers: list[asyncio.Server] = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            servers.append(await loop.create_unix_server(listener.protocol, sock=sock))
        else:
            servers.append(await loop.create_server(listener.protocol, sock=sock, ssl=tls))
    return HttpServer(listener, servers)
