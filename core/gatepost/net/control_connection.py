"""One client's connection after the handshake: requests in, answers out.

The conversation itself is `sessions.h2_server`; here are the transport, the
timers and one task per request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from h2.errors import ErrorCodes

from gatepost.errors import WireError
from gatepost.model.keys import MachinePublic
from gatepost.net.tasks import Tasks
from gatepost.sessions.h2_channel import Drained, Failed, GoneAway
from gatepost.sessions.h2_server import Requested, ServerEvent, ServerLimits, ServerSession
from gatepost.wire.noise import Accepted

log = logging.getLogger(__name__)

_UNACKNOWLEDGED = 90_000  # milliseconds that written bytes may stay without an answer by TCP
_WRITE_BUFFER = 64 << 10  # octets written and not yet taken by the kernel
_UNWAITED = 16 << 10  # octets of a stream after which others get their turn in any case
_PIECE = 1 << 10  # octets that a piece counts for beside its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the clients of one server may ask for. Times are seconds, sizes octets."""

    connections: int = 8192
    streams: int = 32  # per connection, answered or not
    body: int = 1 << 20
    idle: float = 120.0  # without any request
    stall: float = 60.0  # without the reader taking anything of what waits for it
    grace: float = 10.0  # for a handler to notice that its client has left


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """One request. `headers` have lower-case names; `query` keeps the last of repeated names.

    `machine` is proved by Noise. `version` is the client's capability version.
    `peer` is its address. `closed` is set when the client has given the request
    up or has left: a handler that waits for something must watch it.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    machine: MachinePublic
    version: int
    peer: str
    closed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResponse:
    """A whole answer, or a stream whose pieces are each sent at once.

    The next piece is asked for when the one before has left this process. If
    the client leaves, an asynchronous generator is closed at its `yield`.
    """

    status: int = 200
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    headers: tuple[tuple[str, str], ...] = ()


ControlHandler = Callable[[ControlRequest], Awaitable[ControlResponse]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What the connections of one server have in common."""

    handler: ControlHandler
    limits: Limits
    tasks: Tasks
    connections: set[ControlConnection]


@dataclass(slots=True, eq=False)
class _Exchange:
    request: ControlRequest
    task: asyncio.Task[None] | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    is_streaming: bool = False


class ControlConnection(asyncio.Protocol):
    """Owns the transport from the handshake's response on."""

    def __init__(
        self, transport: asyncio.Transport, accepted: Accepted, shared: Shared, peer: str
    ) -> None:
        self._transport = transport
        self._machine = accepted.machine
        self._version = accepted.version
        self._shared = shared
        self._peer = peer
        limits = ServerLimits(streams=shared.limits.streams, body=shared.limits.body)
        self._session = ServerSession(accepted.transport, limits)
        self._exchanges: dict[int, _Exchange] = {}
        self._flushing = False
        self._paused = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, response: bytes, rest: bytes) -> None:
        """Send the handshake's response, then read what came behind the initiation."""
        self._shared.connections.add(self)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        _notice_the_dead(self._transport)
        self._transport.write(response)
        self._wait_for_request()
        self._flush_soon()
        if rest:
            self.data_received(rest)

    def shut_down(self) -> None:
        """Say good-bye and close; the client will connect again."""
        if not self._ended:
            self._session.go_away()
            self._flush()
            self._transport.close()
        self._leave()

    # --- asyncio's side -----------------------------------------------------
    def data_received(self, data: bytes) -> None:
        try:
            events = self._session.receive(data)
        except WireError as error:
            log.info("control connection from %s ends: %s", self._peer, error)
            self._flush()
            self._transport.close()
            self._leave()
            return
        for event in events:
            self._on_event(event)
        self._flush_soon()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._leave()

    def pause_writing(self) -> None:
        # Not reading either: whoever does not read must not make us write more.
        self._paused = True
        self._transport.pause_reading()
        self._set_timer(self._shared.limits.stall, self._on_stall)

    def resume_writing(self) -> None:
        self._paused = False
        if self._ended:
            return
        self._transport.resume_reading()
        self._wait_for_request()
        for exchange in self._exchanges.values():
            exchange.moved.set()

    # --- timers -----------------------------------------------------------------
    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_request(self) -> None:
        self._stop_timer()
        if not self._exchanges and not self._ended:
            self._set_timer(self._shared.limits.idle, self.shut_down)

    def _on_stall(self) -> None:
        log.info("%s reads nothing for %s s: dropped", self._peer, self._shared.limits.stall)
        self._transport.abort()
        self._leave()

    # --- output: one write per turn of the loop ----------------------------------
    def _flush_soon(self) -> None:
        if not self._flushing and not self._ended:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._ended or self._transport.is_closing():
            return
        if records := self._session.take():
            self._transport.write(records)

    # --- requests -----------------------------------------------------------------
    def _on_event(self, event: ServerEvent) -> None:
        match event:
            case Requested():
                self._on_request(event)
            case Failed():
                self._give_up(event.stream)
            case Drained():
                if exchange := self._exchanges.get(event.stream):
                    exchange.moved.set()
            case GoneAway():
                self._transport.close()
                self._leave()

    def _on_request(self, asked: Requested) -> None:
        if len(self._exchanges) >= self._shared.limits.streams:
            # Streams that were reset count until their handlers have noticed.
            self._session.reset(asked.stream, ErrorCodes.REFUSED_STREAM)
            return
        if not self._exchanges and not self._paused:
            self._stop_timer()
        path, _, query = asked.target.partition("?")
        request = ControlRequest(
            method=asked.method,
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=asked.headers,
            body=asked.body,
            machine=self._machine,
            version=self._version,
            peer=self._peer,
        )
        exchange = _Exchange(request)
        self._exchanges[asked.stream] = exchange
        exchange.task = self._shared.tasks.spawn(
            self._serve(asked.stream, exchange), f"{asked.method} {path}"
        )

    async def _serve(self, stream: int, exchange: _Exchange) -> None:
        try:
            answer = await self._ask(exchange.request)
            if answer.stream is not None:
                exchange.is_streaming = True
                await self._pour(stream, exchange, answer, answer.stream)
            elif not exchange.request.closed.is_set():
                has_body = bool(answer.body) and exchange.request.method != "HEAD"
                self._session.respond(stream, answer.status, answer.headers, end=not has_body)
                if has_body:
                    self._session.send(stream, answer.body, end=True)
                self._flush_soon()
                await self._room(stream, exchange)
        finally:
            del self._exchanges[stream]
            if not self._exchanges and not self._paused:
                self._wait_for_request()

    async def _ask(self, request: ControlRequest) -> ControlResponse:
        try:
            return await self._shared.handler(request)
        except Exception:  # the request is the boundary: one failure must not end the others
            log.exception("the handler of %s %s failed", request.method, request.path)
            return ControlResponse(status=500, body=b"internal error, see the server's log\n")

    async def _pour(
        self,
        stream: int,
        exchange: _Exchange,
        answer: ControlResponse,
        pieces: AsyncIterator[bytes],
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(pieces, AsyncGenerator):
                stack.push_async_callback(pieces.aclose)
            if exchange.request.closed.is_set():
                return
            self._session.respond(stream, answer.status, answer.headers, end=False)
            self._flush_soon()
            unwaited = 0
            async for piece in pieces:
                self._session.send(stream, piece)
                self._flush()  # a turn of the loop less, as there are thousands of streams
                unwaited += len(piece) + _PIECE
                if unwaited > _UNWAITED:
                    unwaited = 0
                    await asyncio.sleep(0)
                await self._room(stream, exchange)
                if exchange.request.closed.is_set():
                    return
            self._session.send(stream, b"", end=True)
            self._flush_soon()

    async def _room(self, stream: int, exchange: _Exchange) -> None:
        """Wait until the client has taken what was sent; reset the stream if it does not."""
        while (
            self._session.queued(stream) or self._paused
        ) and not exchange.request.closed.is_set():
            exchange.moved.clear()
            try:
                async with asyncio.timeout(self._shared.limits.stall):
                    await exchange.moved.wait()
            except TimeoutError:
                log.info("%s does not read its answer: stream reset", self._peer)
                self._session.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)
                self._flush_soon()
                self._give_up(stream)

    # --- the end --------------------------------------------------------------------
    def _give_up(self, stream: int) -> None:
        """Tell the handler of a stream that nobody waits for it any more."""
        exchange = self._exchanges.get(stream)
        if exchange is None:
            return
        exchange.request.closed.set()
        exchange.moved.set()
        if exchange.task is None or exchange.task is asyncio.current_task():
            return
        if exchange.is_streaming:
            exchange.task.cancel()
        else:
            asyncio.get_running_loop().call_later(self._shared.limits.grace, exchange.task.cancel)

    def _leave(self) -> None:
        """Forget everything; safe to call twice."""
        if self._ended:
            return
        self._ended = True
        self._stop_timer()
        self._shared.connections.discard(self)
        for stream in tuple(self._exchanges):
            self._give_up(stream)


def _notice_the_dead(transport: asyncio.Transport) -> None:
    """Let TCP give up a client that vanished after 90 s instead of 15 min."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
