"""What is said of a plugin without running it."""

from __future__ import annotations

import sys
from importlib import invalidate_caches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from gatepost.daemon.plugin_words import PluginWords, read_words
from gatepost.engine.plugins import Plugins

POINTS = tuple(entry_points(group="gatepost.plugins"))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_plugin_has_the_same_title_on_and_off(point: EntryPoint) -> None:
    plugins = Plugins()
    assert plugins.load([point], [point.name]) == []

    assert read_words(point.module).title == plugins.info()[point.name].title


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", PluginWords()),
        ('"""One line.\n\nMore."""\nboom()', PluginWords("", "One line.")),
        ("def describe():\n    return PluginInfo(title='mDNS', settings=S)", PluginWords("mDNS")),
        ("def describe():\n    return PluginInfo(title=name())", PluginWords()),
        ("def describe(:", PluginWords()),
        ("\0", PluginWords()),
    ],
)
def test_whatever_a_plugins_text_is_it_is_read_and_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, words: PluginWords
) -> None:
    (tmp_path / "strange_plugin.py").write_text(text)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    invalidate_caches()

    assert read_words("strange_plugin") == words


def test_a_plugin_that_is_not_there_has_no_words() -> None:
    assert read_words("no_such_module_at_all") == PluginWords()
    assert read_words("no_such_module.at_all") == PluginWords()
