"""Answers that still hold, in a bounded room. Pure: the time is an argument.

Two rooms: `AnswerCache` by question, whoever asks, and `WireCache` by the very
bytes of the query, whose answer needs no more than another id and lower TTLs.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gatepost.sessions.dns_messages import Kept, aged, ttl_places

MOST_ANSWERS = 4096
MOST_WIRES = 4096
LONGEST_WIRE = 300  # bytes of a query that is worth keeping
_ID = 2  # bytes

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Bounded(Generic[K, V]):
    """A dictionary of at most `most` entries with an end each; the oldest goes first."""

    most: int
    _held: dict[K, tuple[V, float, float]] = field(default_factory=dict[K, tuple[V, float, float]])

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: K, value: V, now: float, until: float) -> None:
        self._held.pop(key, None)
        while len(self._held) >= self.most:
            del self._held[next(iter(self._held))]
        self._held[key] = value, now, until

    def get(self, key: K, now: float) -> tuple[V, float] | None:
        """Return the value and when it was put; None if there is none or it has ended."""
        found = self._held.get(key)
        if found is None:
            return None
        value, since, until = found
        if now >= until:
            del self._held[key]
            return None
        return value, since


class AnswerCache:
    """What servers have answered, by `Query.key`."""

    def __init__(self, most: int = MOST_ANSWERS) -> None:
        self._held: Bounded[Hashable, Kept] = Bounded(most)

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: Hashable, kept: Kept, now: float) -> None:
        if kept.seconds > 0:
            self._held.put(key, kept, now, now + kept.seconds)

    def get(self, key: Hashable, now: float) -> tuple[Kept, float] | None:
        """Return what was answered and how many seconds ago."""
        found = self._held.get(key, now)
        return None if found is None else (found[0], now - found[1])


@dataclass(frozen=True, slots=True)
class _Wire:
    rest: bytes  # the answer without its id
    places: tuple[int, ...]  # of TTLs in `rest`


class WireCache:
    """Whole answers by whole queries, both without their ids."""

    def __init__(self, most: int = MOST_WIRES) -> None:
        self._held: Bounded[bytes, _Wire] = Bounded(most)

    def put(self, query: bytes, answer: bytes, now: float, seconds: float) -> None:
        """Keep an answer for `seconds` from now."""
        if seconds > 0 and len(query) <= LONGEST_WIRE:
            places = tuple(at - _ID for at in ttl_places(answer))
            self._held.put(query[_ID:], _Wire(answer[_ID:], places), now, now + seconds)

    def get(self, query: bytes, now: float) -> bytes | None:
        found = self._held.get(query[_ID:], now)
        if found is None:
            return None
        wire, since = found
        return query[:_ID] + aged(wire.rest, wire.places, int(now - since))
