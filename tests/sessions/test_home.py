"""Which region is home, by what was measured now and in the last minutes."""

from __future__ import annotations

from gatepost.sessions.home import NEAREST, REMEMBERED, History, choose_home, regions_to_ask

REGIONS = (1, 2, 3, 4, 5, 6)
LATENCIES = {1: 0.06, 2: 0.02, 3: 0.05, 4: 0.03, 5: 0.04}


def test_the_best_of_the_last_minutes_counts() -> None:
    history = History()
    history.add({1: 0.05, 2: 0.03}, 0.0)
    history.add({1: 0.02}, 10.0)

    assert history.best() == {1: 0.02, 2: 0.03}


def test_what_is_older_than_five_minutes_counts_no_more() -> None:
    history = History()
    history.add({1: 0.01, 2: 0.03}, 0.0)
    history.add({1: 0.05}, REMEMBERED)

    assert history.best() == {1: 0.05}


def test_another_network_has_no_history() -> None:
    history = History()
    history.add({1: 0.01}, 0.0)
    history.forget()

    assert history.best() == {}


def test_one_slow_answer_of_the_nearest_region_moves_nobody() -> None:
    recent = {1: 0.010, 2: 0.050}

    assert choose_home(1, (1, 2), {1: 0.040, 2: 0.055}, recent) == 1


def test_a_region_that_was_near_just_now_may_become_home() -> None:
    assert choose_home(1, (1, 2), {1: 0.200, 2: 0.180}, {1: 0.190, 2: 0.020}) == 2


def test_what_was_not_measured_now_is_no_new_home() -> None:
    assert choose_home(1, (1, 2), {1: 0.2}, {2: 0.01}) == 1


def test_a_full_check_asks_all_regions() -> None:
    assert regions_to_ask(REGIONS, 1, LATENCIES, full=True) == set(REGIONS)


def test_an_incremental_check_asks_the_nearest_and_the_home() -> None:
    assert regions_to_ask(REGIONS, 1, LATENCIES, full=False) == {1, 2, 4, 5}
    assert len(regions_to_ask(REGIONS, 2, LATENCIES, full=False)) == NEAREST


def test_regions_that_are_gone_are_not_asked() -> None:
    assert regions_to_ask((2, 3), 9, LATENCIES, full=False) == {2, 3}


def test_without_any_measurement_all_are_asked() -> None:
    assert regions_to_ask(REGIONS, 1, {}, full=False) == set(REGIONS)
