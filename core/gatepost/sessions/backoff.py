"""How long to wait before trying again: longer each time, bounded, never in step with others."""

from __future__ import annotations


class Backoff:
    """Doubles from `first` to at most `longest` seconds; the random part is an argument."""

    __slots__ = ("_failures", "_first", "_longest")

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def next(self, jitter: float) -> float:
        """Return seconds to wait after one more failure; `jitter` is 0 to 1, half of it random."""
        ceiling = min(self._longest, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return ceiling * (0.5 + jitter / 2)

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0
