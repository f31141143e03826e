"""A rate limit: so many at once, so many a second. The time is an argument."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `burst` tokens and gets `rate` new ones a second; starts full."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token if there is one. `now` is seconds and never goes back."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
