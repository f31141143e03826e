"""Names of machines become unique DNS labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.coordination.labels import check_label, label_of, unique_label
from gatepost.errors import RefusedError

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    ("hostname", "label"),
    [
        ("Gate", "gate"),
        ("Anna's MacBook Pro", "annas-macbook-pro"),
        ("büro-gerät.local", "buro-gerat"),
        ("host.example.org", "host-example-org"),
        ("--x--", "x"),
        ("", "node"),
        ("日本", "node"),
        ("a" * 80, "a" * 63),
    ],
)
def test_a_host_name_becomes_the_nearest_label(hostname: str, label: str) -> None:
    assert label_of(hostname) == label


@given(st.text(max_size=100))
def test_every_host_name_becomes_a_label(hostname: str) -> None:
    assert LABEL.fullmatch(label_of(hostname))


@given(st.text(max_size=70), st.integers(0, 30))
def test_labels_of_equal_machines_are_unique(hostname: str, others: int) -> None:
    taken: set[str] = set()
    for _ in range(others):
        taken.add(unique_label(label_of(hostname), taken))

    assert len(taken) == others
    assert all(LABEL.fullmatch(label) for label in taken)


def test_the_second_machine_gets_a_number() -> None:
    assert unique_label("box", {"box", "box-1"}) == "box-2"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a_b", "a" * 64, "ä"])
def test_a_chosen_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="cannot be a machine name"):
        check_label(name)


def test_a_chosen_name_is_kept_in_lower_case() -> None:
    assert check_label("Gate-1") == "gate-1"
