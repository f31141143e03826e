"""Plugins from the command line."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Run

from gatepost.model.status import PluginDocument
from gatepost.testing.fake_node import FakeNode


def values_of(node: FakeNode) -> dict[str, object]:
    return {field.name: field.value for field in node.installed["subnet-router"].fields}


@pytest.mark.usefixtures("daemon")
def test_list_shows_which_are_on(run: Run) -> None:
    lines = run("plugin", "list").out.splitlines()

    assert lines[1].split()[:2] == ["mesh", "required"]
    assert lines[2].split()[:2] == ["subnet-router", "off"]
    assert json.loads(run("plugin", "list", "--json").out)[1]["fields"][0]["name"] == "networks"


def test_enable_and_disable_switch(run: Run, daemon: FakeNode) -> None:
    assert run("plugin", "enable", "subnet-router").code == 0
    assert daemon.installed["subnet-router"].enabled
    assert run("plugin", "disable", "subnet-router").code == 0
    assert not daemon.installed["subnet-router"].enabled


def test_every_kind_of_value_can_be_set_and_taken_back(run: Run, daemon: FakeNode) -> None:
    words = ("networks=10.1.0.0/16, 10.2.0.0/16", "masquerade=off", "metric=7", "mode=careful")
    assert run("plugin", "set", "subnet-router", *words).code == 0
    assert values_of(daemon) == {
        "networks": ("10.1.0.0/16", "10.2.0.0/16"),
        "masquerade": False,
        "metric": 7,
        "mode": "careful",
    }

    back = ("networks=", "masquerade=", "metric=", "mode=")
    assert run("plugin", "set", "subnet-router", *back).code == 0
    assert values_of(daemon) == {"networks": (), "masquerade": True, "metric": 0, "mode": "fast"}


@pytest.mark.usefixtures("daemon")
def test_show_prints_settings(run: Run) -> None:
    run("plugin", "set", "subnet-router", "networks=10.1.0.0/16")

    assert "10.1.0.0/16" in run("plugin", "show", "subnet-router").out


def test_a_plugin_that_is_off_must_be_switched_on_first(run: Run, daemon: FakeNode) -> None:
    daemon.installed["off"] = PluginDocument(name="off", title="", summary="", enabled=False)
    said = run("plugin", "set", "off", "a=b")

    assert said.code == 1
    assert "gatepost plugin enable off" in said.err


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("set", "subnet-router", "networks"), "'networks' is no setting; write it like networks="),
        (("set", "subnet-router", "color=red"), "it has: networks, masquerade, metric, mode"),
        (("set", "subnet-router", "masquerade=perhaps"), "'perhaps' is neither true nor false"),
        (("set", "subnet-router", "metric=many"), "'many' is no number"),
        (("set", "subnet-router", "mode=slow"), "'slow' is none of fast, careful"),
        (("set", "subnet-router", "networks=bad"), "'bad' is no network"),
        (("set", "nothing", "a=b"), "there are: mesh, subnet-router"),
        (("enable", "nothing"), "'nothing'"),
        (("disable", "mesh"), "required"),
        (("show", "nothing"), "'nothing'"),
    ],
)
def test_a_wrong_word_is_named_with_the_way_out(
    run: Run, words: tuple[str, ...], complaint: str
) -> None:
    said = run("plugin", *words)

    assert said.code == 1
    assert complaint in said.err
