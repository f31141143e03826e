"""A carrier that is silent is given up only while a rival answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.coordination.health import (
    ASK_EVERY,
    BACK_AFTER,
    DEAD_AFTER,
    DEAD_AFTER_ALONE,
    RARELY_AFTER,
    Health,
)

STEP = 0.25  # seconds between two judgements
A, B, C = 1, 2, 3


@dataclass(slots=True)
class World:
    """Carriers that answer each second, or do not; time passes when a test says so."""

    answering: set[int]
    by_control: set[int] = field(default_factory=set[int])
    connected: set[int] = field(default_factory=lambda: {A, B, C})
    health: Health = field(default_factory=Health)
    now: float = 100.0
    down: frozenset[int] = frozenset()

    def watch(self, *contests: tuple[int, ...]) -> None:
        self.health.watch(contests, self.now)

    def live(self, seconds: float) -> float | None:
        """Let time pass; return the seconds until somebody else was given up, None if nobody."""
        before, began = self.down, self.now
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            if self.now % ASK_EVERY == 0:
                self._answer(self.answering, by_data=True)
                self._answer(self.by_control, by_data=False)
            self.down = self.health.judge(self.now, self.connected)
            if self.down != before:
                return self.now - began
        return None

    def _answer(self, carriers: Iterable[int], *, by_data: bool) -> None:
        for carrier in carriers:
            self.health.heard(carrier, self.now, by_data=by_data)


def settled(*answering: int, by_control: tuple[int, ...] = ()) -> World:
    world = World(set(answering), set(by_control))
    world.watch((A, B))
    assert world.live(10) is None
    return world


def test_carriers_that_answer_are_kept() -> None:
    assert settled(A, B).down == frozenset()


def test_who_falls_silent_is_given_up_within_three_seconds() -> None:
    world = settled(A, B)
    world.answering = {B}
    took = world.live(10)

    assert world.down == {A}
    assert took is not None
    assert DEAD_AFTER - ASK_EVERY <= took <= 3.0


def test_who_has_lost_its_control_connection_too_is_given_up_sooner() -> None:
    world = settled(A, B)
    world.answering, world.connected = {B}, {B}
    took = world.live(10)

    assert world.down == {A}
    assert took is not None
    assert took <= DEAD_AFTER_ALONE + STEP


def test_who_answers_inside_the_tunnel_is_kept_without_a_control_connection() -> None:
    world = settled(A, B)
    world.connected = set()

    assert world.live(60) is None


def test_silence_of_all_changes_nothing() -> None:
    world = settled(A, B)
    world.answering = set()

    assert world.live(300) is None


def test_without_anybody_to_ask_the_control_connection_counts() -> None:
    world = settled(by_control=(A, B))
    world.by_control = {B}

    assert world.live(10) is not None
    assert world.down == {A}


def test_what_the_data_path_says_outweighs_the_control_connection() -> None:
    world = settled(A, B, by_control=(A, B))
    world.answering = {B}

    assert world.live(10) is not None
    assert world.down == {A}


def test_who_answers_again_counts_again_after_a_while() -> None:
    world = settled(A, B)
    world.answering = {B}
    world.live(10)
    world.answering = {A, B}
    took = world.live(30)

    assert world.down == frozenset()
    assert took is not None
    assert BACK_AFTER <= took <= BACK_AFTER + 2 * ASK_EVERY


def test_who_answers_again_counts_at_once_if_nobody_else_does() -> None:
    world = settled(A, B)
    world.answering = {B}
    world.live(10)
    world.answering = set()
    world.live(10)
    world.answering = {A}
    took = world.live(10)

    assert took is not None
    assert took <= 2 * ASK_EVERY


def test_a_flapping_carrier_stays_given_up() -> None:
    world = settled(A, B)
    for _ in range(20):
        world.answering = {B}
        world.live(4)
        world.answering = {A, B}
        world.live(4)

    assert world.down == {A}


def test_who_has_no_rival_is_not_watched() -> None:
    world = World({B})
    world.watch((A,), (B,))

    assert world.live(60) is None
    assert world.health.carriers == frozenset()


def test_who_is_alone_again_is_not_given_up_any_more() -> None:
    world = settled(A, B)
    world.answering = {B}
    world.live(10)
    world.watch((A,))

    assert world.health.judge(world.now, world.connected) == frozenset()


def test_rivals_are_those_of_any_common_prefix() -> None:
    world = World(set())
    world.watch((A, B), (B, C), (C,))

    assert world.health.rivals(A) == {B}
    assert world.health.rivals(B) == {A, C}


def test_who_was_silent_for_long_need_not_be_asked_often() -> None:
    world = settled(A, B)

    assert not world.health.is_quiet(A, world.now)
    assert world.health.is_quiet(A, world.now + RARELY_AFTER + ASK_EVERY)


def test_an_answer_of_a_stranger_is_nothing() -> None:
    world = settled(A, B)
    world.health.heard(C, world.now, by_data=True)

    assert C not in world.health.carriers


@given(
    st.lists(st.tuples(st.sets(st.sampled_from([A, B, C])), st.floats(0.25, 8)), max_size=20),
)
def test_somebody_who_answers_is_always_left(
    times: list[tuple[set[int], float]],
) -> None:
    world = World({A, B, C})
    world.watch((A, B, C))
    for answering, seconds in times:
        world.answering = answering
        world.live(seconds)
    if world.answering:
        for _ in range(3):
            world.live(10)

    assert not world.answering or world.answering - world.down


@pytest.mark.parametrize("silent", [A, B, C])
def test_any_one_of_three_is_given_up_and_no_other(silent: int) -> None:
    world = World({A, B, C})
    world.watch((A, B, C))
    world.live(5)
    world.answering = {A, B, C} - {silent}
    world.live(10)

    assert world.down == {silent}
