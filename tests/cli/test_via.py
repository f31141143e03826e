"""`gatepost via`: needs no daemon."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Run


def test_a_network_becomes_its_prefix_and_an_example_of_a_name(run: Run) -> None:
    said = run("via", "7", "10.0.0.0/24")

    assert said.out == "fd7a:115c:a1e0:b1a:0:7:a00:0/120\n10.0.0.1 is 10-0-0-1-via-7\n"
    assert run("via", "7", "10.0.0.9").out.endswith("10.0.0.9 is 10-0-0-9-via-7\n")


def test_a_prefix_says_what_it_stands_for(run: Run) -> None:
    assert run("via", "fd7a:115c:a1e0:b1a:0:7:a00:0/120").out == "site 7, 10.0.0.0/24\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("65536", "10.0.0.0/24"), "site 65536 is not 0 to 65535"),
        (("seven", "10.0.0.0/24"), "'seven'"),
        (("7", "10.0.0.1/24"), "10.0.0.1/24 has host bits set"),
        (("7", "fd00::/64"), "fd00::/64"),
        (("fd00::/96",), "fd00::/96 stands for no IPv4 network"),
        (("nonsense",), "nonsense"),
    ],
)
def test_what_makes_no_sense_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("via", *words)

    assert result.code == 1
    assert said in result.err
