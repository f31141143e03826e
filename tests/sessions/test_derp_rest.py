"""When a relay rests: many small reads, one turn behind the other."""

from __future__ import annotations

import pytest

from gatepost.sessions.derp_rest import AWAKE, LONGEST, SMALL, Rest


def turn(rest: Rest, began: float, *, reads: int, octets: int, lasts: float) -> float:
    """Return the rest after one turn of equal reads."""
    for number in range(reads):
        rest.on_read(octets, began + lasts * number / reads)
    return rest.after(began + lasts)


@pytest.mark.parametrize(
    ("reads", "octets", "waited", "lasts", "expected"),
    [
        (10, 1500, 0.0, 0.0004, 0.0004),  # as long as the turn was
        (10, 1500, 0.0, 0.005, LONGEST),
        (10, 1500, 0.0003, 0.0004, 0.0004),
        (10, 1500, 0.0005, 0.0004, 0.0),  # it waits more than it works
        (10, SMALL, 0.0, 0.0004, 0.0),  # it is behind
        (1, 1500, 0.0, 0.0004, 0.0),  # a client alone
    ],
)
def test_small_reads_of_many_clients_are_rested_after(
    reads: int, octets: int, waited: float, lasts: float, expected: float
) -> None:
    rest = Rest()
    turn(rest, 10.0, reads=1, octets=100, lasts=0.001)

    assert turn(rest, 10.001 + waited, reads=reads, octets=octets, lasts=lasts) == pytest.approx(
        expected
    )


def test_a_rest_is_no_waiting_of_the_next_turn() -> None:
    rest = Rest()
    turn(rest, 10.0, reads=1, octets=100, lasts=0.001)
    first = turn(rest, 10.001, reads=5, octets=1500, lasts=0.0005)

    assert turn(rest, 10.0015 + first, reads=5, octets=1500, lasts=0.0005) == pytest.approx(first)


def test_reads_that_led_to_nothing_are_not_of_this_turn() -> None:
    rest = Rest()
    rest.on_read(100, 9.0)
    rest.on_read(100, 9.5)
    turn(rest, 10.0, reads=1, octets=100, lasts=0.001)
    rest.on_read(100, 10.001)

    assert turn(rest, 10.5, reads=1, octets=100, lasts=0.0004) == 0.0


@pytest.mark.parametrize(("late", "expected"), [(0.0009, 0.0005), (0.0011, 0.0)])
def test_who_is_woken_late_does_without_rests_for_a_while(late: float, expected: float) -> None:
    rest = Rest()
    turn(rest, 10.0, reads=1, octets=100, lasts=0.001)
    woken = 10.0015 + turn(rest, 10.001, reads=5, octets=1500, lasts=0.0005) + late
    rest.woken(woken)

    soon = turn(rest, woken, reads=5, octets=1500, lasts=0.0005)
    turn(rest, woken + AWAKE, reads=1, octets=100, lasts=0.0005)
    later = turn(rest, woken + AWAKE + 0.0005, reads=5, octets=1500, lasts=0.0005)

    assert soon == pytest.approx(expected)
    assert later == pytest.approx(0.0005)
