"""Remembers what a pure function said of each of many things."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
G = TypeVar("G")
R = TypeVar("R")


class Each(Generic[T, G, R]):
    """A pure function of one thing and what is `given` with all, asked only of other things.

    A thing that was there the last time as the very same object, with an equal `given`,
    gets the very same answer. So a netmap in which one peer is another gives the wishes of
    one peer anew, and whoever compares them by identity sees what changed. What was not
    there the last time is forgotten: it never remembers more than one call.
    """

    def __init__(self, function: Callable[[T, G], R]) -> None:
        self._function = function
        self._last: tuple[G, dict[int, tuple[T, R]]] | None = None

    def __call__(self, things: Iterable[T], given: G) -> list[R]:
        """Return the answers in the order of the things."""
        known: dict[int, tuple[T, R]] = {}
        if self._last is not None and self._last[0] == given:
            known = self._last[1]
        now: dict[int, tuple[T, R]] = {}
        answers: list[R] = []
        for thing in things:
            found = known.get(id(thing)) or (thing, self._function(thing, given))
            now[id(thing)] = found  # holds the thing, so that no other gets its identity
            answers.append(found[1])
        self._last = given, now
        return answers
