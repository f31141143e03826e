"""What waits to be written to one DERP client, and what is dropped when it does not read.

While the transport takes data, packets of one turn are gathered and written
at once. Once it does not, packets wait one by one, and the oldest is dropped
for the newest: an old packet is worth less than a fresh one, its sender has
sent it again. Discovery and control frames wait in a queue of their own that
is emptied first. What the transport has taken is never cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from gatepost.wire.derp_batch import is_disco, split


class Output(Protocol):
    """The way to one client."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data` before returning: the memory is used again."""
        ...

    def close(self, reason: str) -> None:
        """End the connection without waiting for what is unsent."""
        ...

    def unsent(self) -> int:
        """Return how many octets it holds; while that changes, the other end is reading."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """How much may wait for one client."""

    packets: int = 256
    octets: int = 512 << 10
    urgent: int = 64  # discovery and control frames
    lossless: bool = False  # close rather than drop one of those: another server must hear all
    gather: int = 256 << 10  # octets before a turn's packets are written early
    direct: int = 32 << 10  # octets from which a run is worth a write of its own


class Outbox:
    """The queues of one client. `packets`, `octets` and `dropped` count since the start."""

    __slots__ = (
        "_direct", "_gather_limit", "_limits", "_output", "_pending", "_pending_octets",
        "_pending_packets", "_queue", "_queued_octets", "_unsent", "_urgent", "blocked_since",
        "dropped", "octets", "packets",
    )  # fmt: skip

    def __init__(self, output: Output, limits: OutboxLimits) -> None:
        self._output = output
        self._limits = limits
        self._direct = limits.direct
        self._gather_limit = limits.gather
        self._pending: list[bytes | memoryview] = []
        self._pending_octets = 0
        self._pending_packets = 0
        self._queue: deque[bytes] = deque()
        self._queued_octets = 0
        self._urgent: deque[bytes] = deque()
        self._unsent = 0
        self.blocked_since: float | None = None  # or since the last progress
        self.packets = 0
        self.octets = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Octets that are held here, not in the transport."""
        return self._pending_octets + self._queued_octets + sum(map(len, self._urgent))

    def put(self, run: bytes | memoryview, packets: int) -> bool:
        """Send whole packets, `run` holds nothing else; return whether `flush` is newly needed.

        Until then nobody may change `run`: in a mesh, a copy of each packet in memory that no
        cache holds cost more than all else that is done to it.
        """
        if self.blocked_since is not None:
            self._enqueue(run)
            return False
        size = len(run)
        if not self._pending and size >= self._direct:
            self.packets += packets
            self.octets += size
            self._output.write(run)
            return False
        return self.gather(run, packets)

    def gather(self, run: bytes | memoryview, packets: int) -> bool:
        """Send whole packets with others of this turn, as `put` does."""
        if self.blocked_since is not None:
            self._enqueue(run)
            return False
        pending = self._pending
        pending.append(run)
        self._pending_packets += packets
        self._pending_octets = octets = self._pending_octets + len(run)
        if octets >= self._gather_limit:
            self.flush()
            return False
        return len(pending) == 1

    def put_control(self, frame: bytes) -> bool:
        """Send one frame that is not a packet; return whether `flush` is newly needed."""
        if self.blocked_since is not None:
            self._enqueue_urgent(frame)
            return False
        self._pending.append(frame)
        self._pending_octets += len(frame)
        return len(self._pending) == 1

    def flush(self) -> None:
        """Write what was gathered."""
        pending = self._pending
        if not pending:
            return
        self.packets += self._pending_packets
        self.octets += self._pending_octets
        self._pending = []
        self._pending_packets = self._pending_octets = 0
        self._output.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def close(self, reason: str) -> None:
        """End the connection to it without waiting for what is unsent."""
        self._output.close(reason)

    def block(self, now: float) -> None:
        """Note that the transport takes no more for now."""
        if self.blocked_since is None:
            self.blocked_since = now

    def unblock(self) -> None:
        """Note that the transport takes data again, and give it what waited."""
        self.blocked_since = None
        while self._urgent and self.blocked_since is None:
            frame = self._urgent.popleft()
            self.packets += is_disco(frame)
            self.octets += len(frame)
            self._output.write(frame)
        while self._queue and self.blocked_since is None:
            self._output.write(b"".join(self._next_packets()))

    def blocked_for(self, now: float) -> float:
        """Return seconds without any progress, 0 while not blocked; to be asked now and then."""
        if self.blocked_since is None:
            return 0.0
        unsent = self._output.unsent()
        if unsent != self._unsent:  # a slow link is not a dead one
            self._unsent = unsent
            self.blocked_since = now
        return now - self.blocked_since

    def discard(self) -> None:
        """Forget what waits, as dropped: the client is gone."""
        self.dropped += len(self._queue) + self._pending_packets + sum(map(is_disco, self._urgent))
        self._pending.clear()
        self._queue.clear()
        self._urgent.clear()
        self._pending_octets = self._pending_packets = self._queued_octets = 0

    def _next_packets(self) -> list[bytes]:
        taken: list[bytes] = []
        octets = 0
        while self._queue and octets < self._limits.direct:
            taken.append(self._queue.popleft())
            octets += len(taken[-1])
        self._queued_octets -= octets
        self.packets += len(taken)
        self.octets += octets
        return taken

    def _enqueue(self, run: bytes | bytearray | memoryview) -> None:
        for frame in split(run):
            if is_disco(frame):
                self._enqueue_urgent(frame)
                continue
            self._queue.append(frame)
            self._queued_octets += len(frame)
            while (
                len(self._queue) > self._limits.packets or self._queued_octets > self._limits.octets
            ):
                self._queued_octets -= len(self._queue.popleft())
                self.dropped += 1

    def _enqueue_urgent(self, frame: bytes) -> None:
        self._urgent.append(frame)
        if len(self._urgent) <= self._limits.urgent:
            return
        if self._limits.lossless:
            self._urgent.clear()
            self._output.close("it does not read what it must know")
            return
        self.dropped += is_disco(self._urgent.popleft())
