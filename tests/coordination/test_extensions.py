"""Plugins may tell nodes things; a broken one silences nobody."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint

import pytest
from tests.coordination.makers import MESH, NOW, make_node, make_report, make_world

from gatepost.coordination.delta import Messages
from gatepost.coordination.extensions import Extensions, load_extensions
from gatepost.coordination.settings import parse_settings
from gatepost.errors import SettingsError
from gatepost.hookspecs import MapItem
from gatepost.model.netmap import Node
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import MapResponse

URL = 'server-url = "http://192.0.2.1"\n'


def greet(node: Node, nodes: tuple[Node, ...], settings: object) -> tuple[MapItem, ...]:
    return (MapItem("example.org/cap/greet", f"{settings} {node.label} of {len(nodes)}"),)


def fail(node: Node, nodes: tuple[Node, ...], settings: object) -> tuple[MapItem, ...]:
    raise ValueError(f"{node.name} {len(nodes)} {settings}")


def test_what_a_plugin_says_is_a_capability_of_the_node(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(make_node(1), make_node(2), reports={1: make_report(1)})
    extensions = Extensions({"bad": fail, "good": greet}, {"bad": 0, "good": "hi"}, "mesh.example")
    messages = Messages(MESH, extensions.items)

    with caplog.at_level(logging.ERROR):
        first = read_json(messages.first(world, 1, NOW, "")[4:], MapResponse)

    assert first.node is not None
    assert first.node.cap_map is not None
    assert first.node.cap_map["example.org/cap/greet"] == ["hi box-1 of 2"]
    assert "plugin bad failed" in caplog.text


def test_only_enabled_plugins_are_loaded() -> None:
    point = EntryPoint("broken", "no.such.module", "gatepost.plugins")

    extensions = load_extensions([point], parse_settings(URL))

    world = make_world(make_node(1))
    assert extensions.items(world, world.nodes[1]) == ()


def test_an_enabled_plugin_that_cannot_be_loaded_is_named() -> None:
    settings = parse_settings(URL + "[plugins.broken]\nenabled = true\n")
    point = EntryPoint("broken", "no.such.module", "gatepost.plugins")

    with pytest.raises(SettingsError, match=r"plugins\.broken cannot be loaded"):
        load_extensions([point], settings)
    with pytest.raises(SettingsError, match=r"plugins\.broken: no such plugin"):
        load_extensions([], settings)
