"""One timer of the running loop for a session that says when it wants to be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLACK = 0.001  # seconds by which it may be off


class Alarm:
    """Calls `ring` once at the time that was set last. Times are of `clock`."""

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float | None) -> None:
        """Ring at `when`, at once if that has passed; None is never."""
        if when is None:
            self.stop()
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + max(when - self._clock(), 0.0)
        if self._timer is None or abs(self._timer.when() - due) > SLACK:
            self.stop()
            self._timer = loop.call_at(due, self._on_time)

    def stop(self) -> None:
        """Do not ring."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = None
        self._ring()
