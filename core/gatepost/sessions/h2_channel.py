"""HTTP/2 inside Noise, without sockets: what the server and the client share.

Bytes from the socket go into `receive`, which returns events; `take` returns
the bytes that are to be written now. Bodies are queued per stream and leave
as the other side's flow-control windows allow; `queued` tells how much waits,
so that the owner can hold back its sources.

After an error from `receive` the owner writes what `take` still returns (it
may hold a GOAWAY) and closes. Sources: RFC 9113; protocol document 1.5.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error, NoSuchStreamError, StreamClosedError
from h2.settings import SettingCodes, Settings

from gatepost.errors import Malformed
from gatepost.wire.noise import Transport

HEADERS_LIMIT = 16 << 10  # octets of one header list, as RFC 9113 6.5.2 counts them

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A stream ended before its time: reset by the other side, or refused by us."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """All that was queued on a stream has left."""

    stream: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The other side takes no new streams; those above `last` were not looked at."""

    last: int
    reason: str


class Connection(H2Connection):
    """h2's connection, remembering few closed streams instead of 65,536."""

    MAX_CLOSED_STREAMS: ClassVar[int] = 256  # type: ignore[misc]  # h2 has it as a plain attribute


@dataclass(slots=True)
class _Queue:
    pieces: deque[bytes] = field(default_factory=deque[bytes])
    size: int = 0
    ends: bool = False


class Channel:
    """One connection. Not for use by itself: see `ServerSession` and `ClientSession`."""

    def __init__(
        self, transport: Transport, *, is_client: bool, streams: int, stream_window: int
    ) -> None:
        """`streams` the other side may have open; `stream_window` octets it may send ahead."""
        self._noise = transport
        self._h2 = Connection(H2Configuration(client_side=is_client, header_encoding=None))
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_LIMIT,
        }
        if is_client:
            settings[SettingCodes.ENABLE_PUSH] = 0
        self._h2.local_settings = Settings(client=is_client, initial_values=settings)
        self._h2.decoder.max_header_list_size = HEADERS_LIMIT
        self._is_over = False  # a GOAWAY came: h2 refuses to send anything more
        self._queues: dict[int, _Queue] = {}
        self._h2.initiate_connection()

    # --- towards the socket ---------------------------------------------------
    def take(self) -> bytes:
        """Return all that can be written now, as few records as it fits in."""
        return self._noise.seal(self._h2.data_to_send())

    def _frames(self, arrived: bytes) -> list[h2.events.Event]:
        """Decrypt and parse; raise `Malformed` or `Unauthentic` when the connection is lost."""
        plain = self._plain(self._noise.open(arrived))
        if not plain:
            return []
        try:
            frames = self._h2.receive_data(plain)
        except H2Error as error:
            self._is_over = True
            raise Malformed(f"HTTP/2: {error}") from error
        self._is_over = self._is_over or any(
            isinstance(frame, h2.events.ConnectionTerminated) for frame in frames
        )
        return frames

    def _plain(self, decrypted: bytes) -> bytes:
        return decrypted

    def go_away(self) -> None:
        """Tell the other side that the connection ends."""
        if not self._is_over:
            self._h2.close_connection()
            self._is_over = True

    def _acknowledge(self, stream: int, cost: int) -> None:
        """Let the other side send `cost` octets more."""
        if cost and not self._is_over:
            self._h2.acknowledge_received_data(cost, stream)

    # --- bodies that leave ------------------------------------------------------
    def send(self, stream: int, piece: bytes, *, end: bool = False) -> None:
        """Queue a piece of a body, and its end. Does nothing on a stream that has ended."""
        if self._is_over:
            return
        queue = self._queues.setdefault(stream, _Queue())
        if piece:
            queue.pieces.append(piece)
            queue.size += len(piece)
        queue.ends = queue.ends or end
        self._pump(stream)

    def queued(self, stream: int) -> int:
        """Return how many octets of a stream wait for the other side's window."""
        queue = self._queues.get(stream)
        return queue.size if queue else 0

    def reset(self, stream: int, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """End a stream at once. Does nothing if it has ended already."""
        self._queues.pop(stream, None)
        if self._is_over:
            return
        with contextlib.suppress(NoSuchStreamError, StreamClosedError):  # it has just ended
            self._h2.reset_stream(stream, error_code=code)

    def _pump_all(self) -> list[Drained]:
        """Send what larger windows allow; say which streams have nothing left."""
        if self._is_over:
            return []
        waiting = [stream for stream, queue in self._queues.items() if queue.size]
        for stream in waiting:
            self._pump(stream)
        return [Drained(stream) for stream in waiting if not self.queued(stream)]

    def _pump(self, stream: int) -> None:
        queue = self._queues[stream]
        try:
            if not queue.pieces and queue.ends:
                self._h2.end_stream(stream)
            self._push(stream, queue)
            if queue.size:
                return
        except (NoSuchStreamError, StreamClosedError):
            pass  # the other side reset it; `Failed` says so, or has said so
        del self._queues[stream]

    def _push(self, stream: int, queue: _Queue) -> None:
        while queue.pieces:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            piece = queue.pieces.popleft()
            if len(piece) > room:
                queue.pieces.appendleft(piece[room:])
                piece = piece[:room]
            is_last = queue.ends and not queue.pieces
            self._h2.send_data(stream, piece, end_stream=is_last)
            queue.size -= len(piece)


def reason_of(code: ErrorCodes | int | None) -> str:
    """Name an HTTP/2 error code, known or not."""
    if code is None:
        return "no reason"
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {int(code)}"
