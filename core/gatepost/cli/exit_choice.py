"""Which exit node to suggest. No I/O.

By how far it is (its place in the network: answers tell that better than a map), whether it
is reached directly, and how busy it is: who is busy answers unevenly. Of those that are as
good as each other each box prefers another one, so that not all choose the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

RELAYED = 2.0  # times as far counts who is reached through a DERP relay, which is slow for much
NEAR = 1.25  # times as far as the nearest is still near …
NEAR_BY = 0.002  # … or so many seconds farther
EVEN = 0.003  # seconds between answers that say nothing about how busy somebody is


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An exit node that answered; `answers` are in seconds, at least one."""

    name: str
    key: str
    answers: tuple[float, ...]
    is_direct: bool

    @property
    def latency(self) -> float:
        return min(self.answers)

    @property
    def spread(self) -> float:
        """Seconds between its fastest and its slowest answer."""
        return max(self.answers) - min(self.answers)

    @property
    def distance(self) -> float:
        return self.latency * (1.0 if self.is_direct else RELAYED)


def choose(tried: Iterable[Tried], me: str) -> Tried:
    """Return the best of at least one; `me` is this node's key, as text."""
    everybody = list(tried)
    nearest = min(one.distance for one in everybody)
    near = [o for o in everybody if o.distance <= max(nearest * NEAR, nearest + NEAR_BY)]
    calmest = min(one.spread for one in near)
    calm = [one for one in near if one.spread <= calmest + EVEN]
    return min(calm, key=lambda one: hashlib.sha256(f"{me} {one.key}".encode()).digest())
