"""Refuses a source of failures for a while: who guesses keys, or floods logins. Pure."""

from __future__ import annotations

from collections import OrderedDict

BURST = 30.0  # failures at once, per source
RATE = 0.5  # failures a second, per source
MOST_SOURCES = 4096  # remembered; the longest unseen is forgotten


class FailureLimit:
    """Counts failures per source address; successes cost nothing."""

    def __init__(self, *, burst: float = BURST, rate: float = RATE) -> None:
        self._burst = burst
        self._rate = rate
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at

    def wait(self, source: str, now: float) -> float:
        """Return how many seconds the source must wait; 0.0 if it need not."""
        tokens = self._tokens(source, now)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate

    def fail(self, source: str, now: float) -> None:
        """Count one failure."""
        self._sources[source] = max(0.0, self._tokens(source, now) - 1.0), now
        self._sources.move_to_end(source)
        if len(self._sources) > MOST_SOURCES:
            self._sources.popitem(last=False)

    def _tokens(self, source: str, now: float) -> float:
        tokens, at = self._sources.get(source, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._rate)
