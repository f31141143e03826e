"""Rate limits: so many at once, so many a second. The time is an argument."""

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


class Pace:
    """A rate for something that has happened already: says how long to wait before more of it.

    What goes over is a debt, so that one large step is paid for like many small ones.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def spend(self, amount: float, now: float) -> float:
        """Return the seconds until more may come, 0 for at once. `now` never goes back."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._tokens / self._rate)
