"""Which machine of which running lab is meant."""

from __future__ import annotations

import pytest

from gatepost.testing.lab_register import Entry, Register, find_machine
from gatepost.testing.netns import LabError


def make_register(*names: str, first: int = 1) -> Register:
    numbered = enumerate(names, first)
    return Register(machines={n: Entry(process_id=i, environment={}) for i, n in numbered})


ONE, OTHER = make_register("box-a", "host-a"), make_register("box-a", first=10)


def test_the_only_lab_needs_no_name() -> None:
    assert find_machine({"x": ONE}, "host-a").process_id == 2


def test_of_several_labs_the_named_one_is_meant() -> None:
    running = {"x": ONE, "y": OTHER}

    assert find_machine(running, "box-a", "y").process_id == 10
    with pytest.raises(LabError, match=r"say which.*\n  --lab x: box-a, host-a\n  --lab y: box-a"):
        find_machine(running, "box-a")


@pytest.mark.parametrize(
    ("running", "name", "lab", "text"),
    [
        ({}, "box-a", "", "no lab is running"),
        ({}, "box-a", "x", "no lab is running"),
        ({"x": ONE}, "box-z", "", "no machine 'box-z'; there are box-a, host-a"),
        ({"x": ONE}, "box-a", "z", "no lab 'z' is running; there are\n  --lab x"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    running: dict[str, Register], name: str, lab: str, text: str
) -> None:
    with pytest.raises(LabError, match=text):
        find_machine(running, name, lab)
