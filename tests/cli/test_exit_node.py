"""`gatepost exit-node`."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from tests.cli.conftest import Run

from gatepost.testing.fake_node import GOOD_KEY, FakeNode

EVERYWHERE = ("0.0.0.0/0", "::/0")


@pytest.fixture
def exits(run: Run, daemon: FakeNode) -> FakeNode:
    """Return a daemon both of whose peers are exit nodes, one of them offline."""
    daemon.peers = tuple(replace(p, routes=(*p.routes, *EVERYWHERE)) for p in daemon.peers)
    assert run("up", "--auth-key", GOOD_KEY).code == 0
    return daemon


@pytest.mark.usefixtures("exits")
def test_the_list_says_which_is_used_and_which_is_away(run: Run) -> None:
    assert run("set", "--exit-node", "FAR").code == 0
    lines = run("exit-node", "list").out.splitlines()

    assert lines[0].split() == ["IP", "NAME", "STATUS"]
    assert lines[1].split() == ["100.64.0.2", "far", "selected"]
    assert lines[2].split() == ["100.64.0.3", "away", "offline"]
    assert [p["name"] for p in json.loads(run("exit-node", "list", "--json").out)] == [
        "far.mesh.example", "away.mesh.example",
    ]  # fmt: skip


@pytest.mark.usefixtures("exits")
def test_the_fastest_that_answers_is_suggested(run: Run) -> None:
    said = run("exit-node", "suggest")

    assert said.code == 0
    assert said.out.startswith("far: ")
    assert "gatepost set --exit-node=far" in said.out


def test_without_any_the_way_out_is_told(run: Run, daemon: FakeNode) -> None:
    daemon.peers = tuple(replace(p, routes=("0.0.0.0/0",)) for p in daemon.peers)  # half is none
    assert run("up", "--auth-key", GOOD_KEY).code == 0

    assert "--advertise-exit-node" in run("exit-node", "list").err
    said = run("exit-node", "suggest")
    assert said.code == 1
    assert "no exit node online" in said.err
