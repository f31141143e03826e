"""Many timers with one clock: a heap of moments. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """At most one moment per key. Moved or cancelled entries are skipped when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._current: dict[K, tuple[float, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._current)

    def set(self, key: K, when: float) -> None:
        """Let `key` be due at `when`, and no longer at the moment it had before."""
        self._count += 1
        self._current[key] = when, self._count
        heapq.heappush(self._heap, (when, self._count, key))

    def cancel(self, key: K) -> None:
        """Forget the key; one that is not there is no error."""
        self._current.pop(key, None)

    def due(self, now: float) -> list[K]:
        """Return the keys whose moment has come, earliest first, and forget them."""
        found: list[K] = []
        while self._heap and self._heap[0][0] <= now:
            when, count, key = heapq.heappop(self._heap)
            if self._current.get(key) == (when, count):
                del self._current[key]
                found.append(key)
        return found
