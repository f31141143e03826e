"""`gatepost wake`."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("daemon")


def test_a_machine_here_or_at_another_site_is_woken(run: Run) -> None:
    assert run("wake", "nas").out.startswith("sent to 00:11:22:33:44:55 on lan0;")
    assert "at far" in run("wake", "nas", "--site", "far").out
    assert json.loads(run("wake", "nas", "--json").out)["links"] == ["lan0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [(("tv",), "no machine here is called 'tv'"), (("nas", "--site", "away"), "wakes nobody")],
)
def test_who_is_not_woken_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("wake", *words)

    assert result.code == 1
    assert said in result.err
