"""How often a peer may make us do something."""

from __future__ import annotations


class Window:
    """At most `limit` times in any `seconds` from the first; O(1) memory."""

    __slots__ = ("_count", "_limit", "_seconds", "_start")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._start = float("-inf")
        self._count = 0

    def admits(self, now: float) -> bool:
        """Count one more, and say whether it is within the limit."""
        if now - self._start > self._seconds:
            self._start, self._count = now, 0
        self._count += 1
        return self._count <= self._limit
