"""What is the same object gets the same answer, and nothing is remembered for long."""

from __future__ import annotations

import gc
import weakref

from gatepost.model.each import Each


class Thing:
    """Something that is equal to itself only."""


def test_only_other_things_are_asked_about() -> None:
    asked: list[Thing] = []

    def answer(thing: Thing, given: int) -> tuple[Thing, int]:
        asked.append(thing)
        return thing, given

    each, (a, b, c) = Each(answer), (Thing(), Thing(), Thing())
    first = each([a, b], 1)
    second = each([c, b], 1)

    assert asked == [a, b, c]
    assert second == [(c, 1), (b, 1)]
    assert second[1] is first[1]


def test_another_thing_that_is_given_asks_about_all() -> None:
    each, thing = Each[Thing, int, int](lambda _, given: given), Thing()

    assert (each([thing], 1), each([thing], 2), each([thing], 1)) == ([1], [2], [1])


def test_what_is_gone_is_forgotten() -> None:
    each, thing = Each[Thing, int, int](lambda _, given: given), Thing()
    each([thing], 1)
    watched = weakref.ref(thing)
    del thing
    each([], 1)
    gc.collect()

    assert watched() is None
