"""When a relay rests before it reads again, so that each read brings more.

A read and the write that follows it cost as much as four packets. A relay that
reads as soon as there is anything, while many clients send packet after packet,
gets one to three at a time and is busy at half of what it can carry. So after
a turn of small reads, in which it worked longer than it had waited, it rests
as long as the turn was, a millisecond at most, as network cards do with their
interrupts. A client that sends alone never waits: one read is no reason. Once
the relay is behind, its reads are large and it rests no more. On a machine
that others keep busy, who sleeps is woken late, so one late waking ends the
resting for a while.
"""

from __future__ import annotations

SMALL = 16 << 10  # octets of a read; from there on its packets cost and not the reading
LONGEST = 0.001  # seconds
AWAKE = 1.0  # seconds without a rest after one that took twice as long as any should


class Rest:
    """What the reads of this turn brought. Times are seconds of a clock that never goes back."""

    __slots__ = ("_awake_until", "_began", "_ended", "_latest", "_octets", "_reads")

    def __init__(self) -> None:
        self._reads = self._octets = 0
        self._began = self._latest = self._ended = self._awake_until = 0.0

    def on_read(self, octets: int, now: float) -> None:
        if not self._reads or now - self._latest > LONGEST:  # what led to no write ended no turn
            self._began = now
            self._reads = self._octets = 0
        self._reads += 1
        self._octets += octets
        self._latest = now

    def after(self, now: float) -> float:
        """End the turn, all of it written; return how many seconds to rest, mostly 0."""
        waited, worked = self._began - self._ended, now - self._began
        is_small = self._reads > 1 and self._octets < self._reads * SMALL
        self._reads = self._octets = 0
        is_busy = waited <= worked
        rest = min(worked, LONGEST) if is_small and is_busy and now >= self._awake_until else 0.0
        self._ended = now + rest
        return rest

    def woken(self, now: float) -> None:
        """Note when a rest was really over."""
        if now - self._ended > LONGEST:
            self._awake_until = now + AWAKE
        self._ended = now
