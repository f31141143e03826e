"""How often an address may guess: a few times freely, then ever more slowly.

Kept in memory of the one worker process (see gunicorn_conf.py); a restart
forgets it, which costs an attacker more than it gives.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

FREE = 5  # wrong guesses before the first wait
FIRST_WAIT = 2.0  # seconds; doubles with every further one
LONGEST_WAIT = 900.0  # seconds
FORGET = 3600.0  # seconds after the last wrong guess
MOST = 1024  # addresses; then the one that was quiet for longest is forgotten


@dataclass(frozen=True, slots=True)
class _Guesses:
    wrong: int
    last: float
    until: float


class Limiter:
    """Counts wrong guesses by address; `now` is any clock that only goes forward."""

    def __init__(self) -> None:
        self._guesses: dict[str, _Guesses] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._guesses)

    def wait(self, address: str, now: float) -> float:
        """Return how many seconds this address must still wait; 0 means go on."""
        known = self._guesses.get(_group(address))
        return max(0.0, known.until - now) if known else 0.0

    def on_wrong(self, address: str, now: float) -> None:
        """Count a guess before it is checked; `on_right` takes it back."""
        group = _group(address)
        with self._lock:
            known = self._guesses.pop(group, None)
            stale = known is None or now - known.last > FORGET
            wrong = 1 if known is None or stale else known.wrong + 1
            pause = min(FIRST_WAIT * 2.0 ** (wrong - FREE), LONGEST_WAIT) if wrong >= FREE else 0.0
            if len(self._guesses) >= MOST:
                self._guesses.pop(next(iter(self._guesses)))
            self._guesses[group] = _Guesses(wrong, now, now + pause)  # last in the order

    def on_right(self, address: str) -> None:
        with self._lock:
            self._guesses.pop(_group(address), None)


def _group(address: str) -> str:
    """Return what counts as one guesser: an IPv4 address, or an IPv6 /64 (one household)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
