"""The client's side of HTTP/2 inside Noise, without sockets.

The server may put a message in front of its first HTTP/2 frame (protocol
document 1.4): 5 magic bytes, a big-endian length and JSON. It is skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import h2.events
from h2.exceptions import H2Error

from gatepost.errors import Malformed, UnreachableError
from gatepost.sessions.h2_channel import Channel, Drained, Failed, GoneAway, Headers, reason_of
from gatepost.wire.noise import Transport

STREAM_WINDOW = 1 << 20  # octets the server may send ahead on one stream
CONNECTION_WINDOW = 4 << 20  # octets, all streams together

_EARLY = struct.Struct(">5sI")
_EARLY_MAGIC = b"\xff\xff\xffTS"
_EARLY_LIMIT = 64 << 10  # octets; the real one has about 100


@dataclass(frozen=True, slots=True)
class Answered:
    """The head of the answer. Header names are lower case."""

    stream: int
    status: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A piece of the body. Call `consumed(stream, cost)` once it is dealt with."""

    stream: int
    piece: bytes
    cost: int  # octets of flow control, padding included


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete."""

    stream: int


ClientEvent = Answered | Arrived | Ended | Failed | Drained | GoneAway


class ClientSession(Channel):
    """Our connection to a coordination server."""

    def __init__(self, transport: Transport, authority: str) -> None:
        """Take the server's host name, with its port if that is not the usual one."""
        super().__init__(transport, is_client=True, streams=0, stream_window=STREAM_WINDOW)
        self._authority = authority.encode("ascii")
        self._start: bytes | None = b""  # what came before the first frame; None: past that
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 0xFFFF)

    def request(self, method: str, path: str, body: bytes, headers: Headers | None = None) -> int:
        """Send a request; return its stream.

        Raise `UnreachableError` when the connection takes no more of them.
        """
        fields = [
            (b":method", method.encode("ascii")),
            (b":path", path.encode("ascii")),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            *(headers or []),
        ]
        try:
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, fields, end_stream=not body)
        except H2Error as error:
            raise UnreachableError(f"no new request on this connection: {error}") from error
        if body:
            self.send(stream, body, end=True)
        return stream

    def ping(self) -> None:
        """Ask for a sign of life; it arrives like everything else."""
        if not self._is_over:
            self._h2.ping(b"gatepost")

    def consumed(self, stream: int, cost: int) -> None:
        """Let the server send as much again."""
        self._acknowledge(stream, cost)

    def receive(self, arrived: bytes) -> list[ClientEvent]:
        """Take bytes from the socket. Raise `WireError` when the connection is lost."""
        events: list[ClientEvent] = []
        for frame in self._frames(arrived):
            events += self._on_frame(frame)
        return events

    def _plain(self, decrypted: bytes) -> bytes:
        if self._start is None:
            return decrypted
        self._start += decrypted
        if len(self._start) < _EARLY.size:
            return b""
        end = 0
        magic, length = _EARLY.unpack_from(self._start)
        if magic == _EARLY_MAGIC:
            if length > _EARLY_LIMIT:
                raise Malformed(f"an early message of {length} bytes is over {_EARLY_LIMIT}")
            end = _EARLY.size + length
            if len(self._start) < end:
                return b""
        rest, self._start = self._start[end:], None
        return rest

    def _on_frame(self, frame: h2.events.Event) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        match frame:
            case h2.events.ResponseReceived():
                events.append(_answered(frame.stream_id or 0, frame.headers or []))
            case h2.events.DataReceived():
                cost = frame.flow_controlled_length or 0
                events.append(Arrived(frame.stream_id or 0, frame.data or b"", cost))
            case h2.events.StreamEnded():
                events.append(Ended(frame.stream_id or 0))
            case h2.events.StreamReset():
                self._queues.pop(frame.stream_id or 0, None)
                events.append(Failed(frame.stream_id or 0, reason_of(frame.error_code)))
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                events += self._pump_all()
            case h2.events.ConnectionTerminated():
                events.append(GoneAway(frame.last_stream_id or 0, reason_of(frame.error_code)))
            case _:
                pass  # h2 answers PING and SETTINGS itself
        return events


def _answered(stream: int, headers: Headers) -> Answered:
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    status = fields.pop(":status", "")
    if not status.isdecimal():
        raise Malformed(f"status {status!r} is not a number")
    return Answered(stream, int(status), fields)
