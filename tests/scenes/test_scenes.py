"""What holds for every scene, and each of them for itself: `pytest -k overlap` runs one."""

from __future__ import annotations

import inspect

import pytest

from gatepost.testing import scenes
from gatepost.testing.netns import LabError, patient
from gatepost.testing.scene_report import play, table
from gatepost.testing.scenes import Row, Tell, at_most, expect


class Paper:
    """Shows what it was given."""

    def __init__(self, *rows: Row) -> None:
        self.rows = rows

    def run(self, tell: Tell, /) -> tuple[Row, ...]:
        tell("showing")
        return self.rows


HOLDS = expect("a ping", "answered", "answered")
BROKEN = expect("a ping", "answered", "lost")


@pytest.mark.parametrize(
    ("rows", "holds"), [((HOLDS,), True), ((HOLDS, BROKEN), False), ((), False)]
)
def test_a_scene_holds_only_if_it_shows_something_and_all_of_it_holds(
    rows: tuple[Row, ...], *, holds: bool
) -> None:
    assert play("paper", Paper(*rows), lambda _line: None).holds == holds


def test_the_table_tells_the_rows_that_do_not_hold() -> None:
    lines = list(table(play("paper", Paper(HOLDS, BROKEN), lambda _line: None)))

    assert "NO  a ping  answered  lost" in lines
    assert lines[-1].startswith("paper: 1 of 2 do not hold")


def test_a_measure_at_its_limit_holds() -> None:
    assert at_most("failover", 5.0, 5.0, "s").ok
    assert not at_most("failover", 5.0, 5.1, "s").ok


def test_an_unknown_scene_is_refused_with_the_names_of_the_others() -> None:
    with pytest.raises(LabError, match="no scene 'weather'; there are "):
        scenes.find("weather")


@pytest.mark.parametrize("name", scenes.names())
def test_every_scene_says_what_it_shows_and_can_be_run(name: str) -> None:
    scene = scenes.find(name)

    assert (scene.__doc__ or "").strip()
    assert list(inspect.signature(scene.run).parameters) == ["tell"]


@pytest.mark.root
@pytest.mark.mesh
@pytest.mark.timeout(patient(300))
@pytest.mark.parametrize("name", scenes.names())
def test_every_row_of_a_scene_holds(name: str) -> None:
    report = play(name, scenes.find(name), print)

    assert [row for row in report.rows if not row.ok] == []
    assert report.holds
