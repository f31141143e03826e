"""A small HTTP/1.1 server on asyncio that can hand the connection over.

It exists because two things are asked of it that the web frameworks' servers
cannot do: an upgrade to a protocol that is not WebSocket (Noise, DERP) without
a copy of each byte, and the credentials of the process behind a Unix socket.
Parsing is h11's. One request at a time per connection; limits are arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import h11

from gatepost.net.http_peer import Peer, peer_of
from gatepost.net.small_tls import over_tls
from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)


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
    stall: float = 60.0  # seconds without the reader taking anything of its answer
    head: int = 16 << 10  # octets
    per_address: int = 0  # connections from one IP address; 0 is without a limit of its own


Admits = Callable[[Peer], bool]


@dataclass(slots=True)
class Listener:
    """What the connections of one listener share.

    `admits` None lets everybody in; whom it refuses is cut off before anything is read.
    """

    handler: Handler
    limits: Limits
    admits: Admits | None = None
    tasks: Tasks = field(default_factory=Tasks)
    connections: set[HttpConnection] = field(default_factory=set["HttpConnection"])

    def protocol(self) -> HttpConnection:
        return HttpConnection(self)

    def lets_in(self, peer: Peer) -> bool:
        """Say whether a new connection, which is one of `connections` already, may stay."""
        if self.admits is not None and not self.admits(peer):
            return False
        most = self.limits.per_address
        return not most or sum(c.is_of(peer) for c in self.connections) <= most


class HttpConnection(asyncio.Protocol):
    """One connection, until it ends or is handed over."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=listener.limits.head)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._busy = False
        self._gone = False
        self._streaming: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle: asyncio.TimerHandle | None = None

    # --- asyncio's side -----------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # asyncio's promise
        self._peer = peer_of(transport)
        self._listener.connections.add(self)
        if not self._listener.lets_in(self._peer):
            self.shut_down()
            return
        if len(self._listener.connections) > self._listener.limits.connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            return
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._leave()
        if self._streaming is not None:
            self._streaming.cancel()

    def is_of(self, peer: Peer) -> bool:
        return self._peer.address == peer.address

    def shut_down(self) -> None:
        """Close at once."""
        self._transport.abort()
        self._leave()

    def eof_received(self) -> bool:
        # A half-closed client may still want its answer; TLS has no half-closed state.
        # One that reads a stream has left: nothing else would show it before the next piece.
        is_tls = self._transport.get_extra_info("ssl_object") is not None
        return self._busy and self._streaming is None and not is_tls

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
        if self._idle is not None:
            self._idle.cancel()
        # Not close: that would wait for a reader that takes nothing.
        self._idle = loop.call_later(self._listener.limits.idle, self._transport.abort)

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
                    if len(self._body) > (most := self._listener.limits.body):
                        reason = f"at most {most:,} octets are taken at once"
                        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
                        return
                case h11.EndOfMessage():
                    self._busy = True
                    if self._idle is not None:
                        self._idle.cancel()
                    self._on_request()
                case _:  # ConnectionClosed
                    self._transport.close()
                    return

    def _on_request(self) -> None:
        try:
            request = self._parsed()
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"the target is no URL: {error}")
            return
        self._listener.tasks.spawn(self._answer(request), "http request")

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
    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._listener.handler(request)
        except Exception:
            log.exception("the handler of %s %s failed", request.method, request.path)
            answer = Response(status=500, body=b'{"error":"internal error, see the log"}')
        if self._gone:
            return
        if isinstance(answer, Upgrade):
            self._hand_over(answer)
            return
        try:
            await self._respond(answer, has_body=request.method != "HEAD")
        except Exception:  # a stream is its handler's code too; half an answer cannot be mended
            log.exception("the answer to %s %s broke off", request.method, request.path)
            self._transport.abort()
        else:
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

    async def _respond(self, answer: Response, *, has_body: bool) -> None:
        headers = [*answer.headers, ("Content-Type", answer.content_type)]
        if answer.stream is None:
            headers.append(("Content-Length", str(len(answer.body))))
        self._send(h11.Response(status_code=answer.status, headers=list(headers)))
        if has_body and answer.stream is not None:
            await self._pour(answer.stream)
        elif has_body:
            self._send(h11.Data(data=answer.body))
        self._send(h11.EndOfMessage())

    async def _pour(self, pieces: AsyncIterator[bytes]) -> None:
        """Send piece by piece; the next is asked for when the one before has left."""
        self._streaming = asyncio.current_task()
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(pieces, AsyncGenerator):
                stack.push_async_callback(pieces.aclose)
            async for piece in pieces:
                self._send(h11.Data(data=piece))
                if not await self._is_taken():
                    return
        self._streaming = None

    async def _is_taken(self) -> bool:
        """Wait for the reader; drop it and return False when it takes nothing."""
        try:
            async with asyncio.timeout(self._listener.limits.stall):
                await self._writable.wait()
        except TimeoutError:
            self._transport.abort()
            self._leave()
        return not self._gone

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
        self._listener.connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()


@dataclass(slots=True)
class HttpServer:
    """Listening sockets with one handler behind them."""

    listener: Listener
    servers: list[asyncio.Server]

    async def close(self) -> None:
        """Stop listening; end the connections that are still ours and their requests."""
        for server in self.servers:
            server.close()
        for connection in tuple(self.listener.connections):
            connection.shut_down()
        await self.listener.tasks.close()


async def serve(
    handler: Handler,
    sockets: Sequence[socket.socket],
    *,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    admits: Admits | None = None,
) -> HttpServer:
    """Answer on sockets that are bound already (`listen` is called here)."""
    loop = asyncio.get_running_loop()
    listener = Listener(handler, limits or Limits(), admits)
    servers: list[asyncio.Server] = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            servers.append(await loop.create_unix_server(listener.protocol, sock=sock))
        else:
            # asyncio does so only for sockets that say which protocol they are; these say 0
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            factory = over_tls(listener.protocol, tls) if tls else listener.protocol
            servers.append(await loop.create_server(factory, sock=sock))
    return HttpServer(listener, servers)


__all__ = [
    "Admits", "Handler", "HttpServer", "Limits", "Peer", "Request", "Response", "Upgrade", "serve",
]  # fmt: skip
