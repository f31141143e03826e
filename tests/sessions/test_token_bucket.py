"""Rate limits and back-off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatepost.sessions.backoff import Backoff
from gatepost.sessions.token_bucket import Pace, TokenBucket


@given(steps=st.lists(st.floats(0, 3), max_size=200))
def test_never_more_than_the_burst_and_the_rate_allow(steps: list[float]) -> None:
    bucket = TokenBucket(rate=3.0, burst=5.0, now=0.0)
    now, taken = 0.0, 0
    for step in steps:
        now += step
        taken += bucket.take(now)

        assert taken <= 5 + 3 * now + 1e-6


def test_an_empty_bucket_fills_again() -> None:
    bucket = TokenBucket(rate=2.0, burst=1.0, now=0.0)

    assert [bucket.take(t) for t in (0.0, 0.1, 0.5, 0.6)] == [True, False, True, False]


@given(jitters=st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_waits_grow_and_stay_within_their_bounds(jitters: list[float]) -> None:
    backoff = Backoff(first=0.25, longest=30.0)

    for count, jitter in enumerate(jitters):
        ceiling = min(30.0, 0.25 * 2.0**count)
        assert ceiling / 2 <= backoff.next(jitter) <= ceiling


def test_a_success_starts_over() -> None:
    backoff = Backoff(first=1.0, longest=30.0)
    backoff.next(1.0)
    backoff.next(1.0)
    backoff.reset()

    assert backoff.next(1.0) == 1.0


@given(steps=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 50)), max_size=200))
def test_who_waits_as_told_keeps_the_pace(steps: list[tuple[float, float]]) -> None:
    pace = Pace(rate=10.0, burst=20.0, now=0.0)
    now, spent, last = 0.0, 0.0, 0.0
    for step, amount in steps:
        now += step
        spent += amount
        last = amount
        now += pace.spend(amount, now)

        assert spent - last <= 20 + 10 * now + 1e-6


def test_what_goes_over_is_paid_for_later() -> None:
    pace = Pace(rate=10.0, burst=20.0, now=0.0)

    assert [pace.spend(*x) for x in ((20, 0.0), (30, 0.0), (0, 2.0), (5, 4.0))] == [0, 3, 1, 0]
