"""The server's side of HTTP/2 inside Noise, without sockets.

A request becomes an event once its body is complete. Bodies are bounded one
by one and all together; a stream that goes over is answered 413 and reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.events
from h2.errors import ErrorCodes

from gatepost.sessions.h2_channel import Channel, Drained, Failed, GoneAway, reason_of
from gatepost.wire.noise import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """One whole request. Header names are lower case, the pseudo-headers left out."""

    stream: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


ServerEvent = Requested | Failed | Drained | GoneAway


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one connection may ask of us."""

    streams: int = 32
    body: int = 1 << 20  # octets of one request
    bodies: int = 2 << 20  # octets of all requests that are not complete


@dataclass(slots=True)
class _Incoming:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class ServerSession(Channel):
    """One client's connection."""

    def __init__(self, transport: Transport, limits: ServerLimits) -> None:
        super().__init__(transport, is_client=False, streams=limits.streams, stream_window=0xFFFF)
        self._limits = limits
        self._incoming: dict[int, _Incoming] = {}

    def receive(self, arrived: bytes) -> list[ServerEvent]:
        """Take bytes from the socket. Raise `WireError` when the connection is lost."""
        events: list[ServerEvent] = []
        for frame in self._frames(arrived):
            events += self._on_frame(frame)
        return events

    def respond(
        self, stream: int, status: int, headers: tuple[tuple[str, str], ...] = (), *, end: bool
    ) -> None:
        """Send the head of an answer. Does nothing on a stream that has ended."""
        if not self.is_open(stream):
            return
        fields = [(b":status", b"%d" % status)]
        fields += [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        self._h2.send_headers(stream, fields, end_stream=end)

    def is_open(self, stream: int) -> bool:
        """Say whether an answer can still go out on a stream."""
        if self._is_over:
            return False
        known = self._h2.streams.get(stream)
        return known is not None and not known.closed

    # --- what arrives -----------------------------------------------------------
    def _on_frame(self, frame: h2.events.Event) -> list[ServerEvent]:
        match frame:
            case h2.events.RequestReceived():
                self._incoming[_id(frame.stream_id)] = _Incoming(_decoded(frame.headers or []))
            case h2.events.DataReceived():
                return self._on_body(frame)
            case h2.events.StreamEnded():
                return self._on_end(_id(frame.stream_id))
            case h2.events.StreamReset():
                return self._on_reset(frame)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                return list(self._pump_all())
            case h2.events.ConnectionTerminated():
                return [GoneAway(frame.last_stream_id or 0, reason_of(frame.error_code))]
            case _:
                pass  # h2 answers PING and SETTINGS itself; trailers mean nothing here
        return []

    def _on_body(self, frame: h2.events.DataReceived) -> list[ServerEvent]:
        stream = _id(frame.stream_id)
        self._acknowledge(stream, frame.flow_controlled_length or 0)
        request = self._incoming.get(stream)
        if request is None:
            return []
        request.body += frame.data or b""
        whole = sum(len(other.body) for other in self._incoming.values())
        if len(request.body) <= self._limits.body and whole <= self._limits.bodies:
            return []
        del self._incoming[stream]
        self.respond(stream, 413, end=True)
        self.reset(stream, ErrorCodes.NO_ERROR)
        return [Failed(stream, "the body is too long")]

    def _on_end(self, stream: int) -> list[ServerEvent]:
        request = self._incoming.pop(stream, None)
        if request is None:
            return []
        return [
            Requested(
                stream=stream,
                method=request.headers.pop(":method", ""),
                target=request.headers.pop(":path", ""),
                headers={k: v for k, v in request.headers.items() if not k.startswith(":")},
                body=bytes(request.body),
            )
        ]

    def _on_reset(self, frame: h2.events.StreamReset) -> list[ServerEvent]:
        stream = _id(frame.stream_id)
        self._incoming.pop(stream, None)
        self._queues.pop(stream, None)
        return [Failed(stream, reason_of(frame.error_code))]


def _id(stream: int | None) -> int:
    assert stream is not None  # noqa: S101  # h2 sets it on every stream event
    return stream


def _decoded(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
