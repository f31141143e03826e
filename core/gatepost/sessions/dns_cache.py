"""Answers that still hold, in a bounded room. Pure: the time is an argument.

Two rooms: `AnswerCache` by question, whoever asks, and `WireCache` by the very
bytes of the query, whose answer needs no more than another id and lower TTLs.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gatepost.sessions.dns_messages import Kept, aged, ttl_places, values_of

MOST_ANSWERS = 4096
MOST_OCTETS = 16 << 20  # of memory for all answers, about
RRSET, RECORD = 1000, 160  # octets of memory that each takes beside its own, measured
MOST_WIRES = 4096
LONGEST_WIRE = 300  # bytes of a query that is worth keeping
_ID = 2  # bytes

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Bounded(Generic[K, V]):
    """A dictionary of at most `most` entries with an end each; the oldest goes first.

    All together have at most `most_octets`, of those that `put` is told.
    """

    most: int
    most_octets: int = 0
    _octets: int = 0
    _held: dict[K, tuple[V, float, float, int]] = field(
        default_factory=dict[K, tuple[V, float, float, int]]
    )

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: K, value: V, now: float, until: float, octets: int = 0) -> None:
        self._drop(key)
        while self._held and (
            len(self._held) >= self.most or self._octets + octets > self.most_octets
        ):
            self._drop(next(iter(self._held)))
        self._held[key] = value, now, until, octets
        self._octets += octets

    def get(self, key: K, now: float) -> tuple[V, float] | None:
        """Return the value and when it was put; None if there is none or it has ended."""
        found = self._held.get(key)
        if found is None:
            return None
        value, since, until, _ = found
        if now >= until:
            self._drop(key)
            return None
        return value, since

    def _drop(self, key: K) -> None:
        if (dropped := self._held.pop(key, None)) is not None:
            self._octets -= dropped[3]


class AnswerCache:
    """What servers have answered, by `Query.key`."""

    def __init__(self, most: int = MOST_ANSWERS, most_octets: int = MOST_OCTETS) -> None:
        self._held: Bounded[Hashable, Kept] = Bounded(most, most_octets)

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: Hashable, kept: Kept, now: float) -> None:
        if kept.seconds > 0:
            self._held.put(key, kept, now, now + kept.seconds, _octets_of(kept))

    def get(self, key: Hashable, now: float) -> tuple[Kept, float] | None:
        """Return what was answered and how many seconds ago."""
        found = self._held.get(key, now)
        return None if found is None else (found[0], now - found[1])


def _octets_of(kept: Kept) -> int:
    """Return about how much memory it takes, up to a hundred times what it has on the wire."""
    rrsets = (*kept.answer, *kept.authority)
    records = (RECORD + len(each.to_wire() or b"") for r in rrsets for each in values_of(r))
    return RRSET * len(rrsets) + sum(records)


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
