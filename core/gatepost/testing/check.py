"""The conformance suite for plugins: what must hold for every plugin, ours or a stranger's.

from gatepost.testing.check import check_plugin
import my_plugin

def test_my_plugin() -> None:
    assert check_plugin(my_plugin, busy=my_plugin.Settings(networks=(...,))) == []
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from gatepost import hookspecs
from gatepost.engine.merge import merge
from gatepost.engine.plugins import Owned, Plugins
from gatepost.engine.settings import field_documents, read_settings, write_settings
from gatepost.errors import SettingsError
from gatepost.hookspecs import PluginInfo
from gatepost.model.netmap import NetMap
from gatepost.model.observed import Observed, Watch
from gatepost.model.resource import Notice, Resource
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private

NAME = "the-plugin"


def check_plugin(plugin: ModuleType, *, busy: object = None) -> list[str]:
    """Return what is wrong with a plugin, nothing if it may be shipped.

    `busy` are settings that make it contribute something; None uses the defaults.
    """
    plugins = Plugins()
    try:
        plugins.add(NAME, plugin)
    except Exception as error:  # noqa: BLE001  # a stranger's code
        return [f"it cannot be registered: {error!r}"]
    info = plugins.info().get(NAME)
    if info is None:
        return ["it has no describe(), so nobody can configure it"]
    settings = info.settings() if busy is None else busy
    problems = [
        *_described(plugin, info),
        *_typed_hooks(plugin),
        *_settings(info.settings),
        *_settings_survive(info.settings, settings),
    ]
    for netmap, observed in _worlds():
        problems += _contribution(plugins, netmap, settings, observed)
    return problems


def _described(plugin: ModuleType, info: PluginInfo) -> Iterator[str]:
    if not (plugin.__doc__ or "").strip():
        yield "the module has no docstring: its first line is shown while the plugin is off"
    if not info.title or not info.summary:
        yield "describe() gives no title or no summary"


def _typed_hooks(plugin: ModuleType) -> Iterator[str]:
    for name, function in inspect.getmembers(plugin, inspect.isfunction):
        if not hasattr(function, "gatepost_impl"):
            continue
        given = typing.get_type_hints(getattr(hookspecs, name))
        taken = typing.get_type_hints(function)
        for argument in inspect.signature(function).parameters:
            if argument not in taken:
                yield f"{name}({argument}) has no annotation"
            elif argument != "settings" and taken[argument] != given[argument]:
                yield f"{name}({argument}) is annotated {taken[argument]}, not {given[argument]}"


def _settings(kind: type[Any]) -> Iterator[str]:
    if not dataclasses.is_dataclass(kind):
        yield "Settings is not a dataclass"
        return
    try:
        default = kind()
    except TypeError as error:
        yield f"a setting has no default: {error}"
        return
    for field in dataclasses.fields(kind):
        try:
            setattr(default, field.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        yield "Settings is not frozen"
        return


def _settings_survive(kind: type[Any], settings: object) -> Iterator[str]:
    """Check that a file and a form can hold the settings."""
    try:
        again = read_settings(kind, write_settings(settings), NAME)
        field_documents(kind, settings)
    except SettingsError as error:
        yield f"settings cannot be written to a file and read back: {error}"
        return
    if again != settings:
        yield f"settings read back from a file are {again}, not {settings}"


def _worlds() -> Iterator[tuple[NetMap, Observed]]:
    """Give situations that every node meets."""
    me = make_node(1, "10.1.0.0/16", "fd00:1::/64", key=make_private(1).public)
    routers = (make_node(2, "10.9.0.0/16", "fd00:9::/64"), make_node(3, "0.0.0.0/0", "::/0"))
    full = make_netmap(me=me, others=routers)
    yield full, make_observed("10.1.0.0/16", "192.0.2.0/24")
    yield full, Observed()  # nothing answered yet
    yield dataclasses.replace(full, filter=None), make_observed()  # no policy was sent
    yield make_netmap(0), make_observed()  # alone
    lonely = make_node(1, key=make_private(1).public, addresses=())
    yield make_netmap(me=lonely, others=()), make_observed()


def _contribution(
    plugins: Plugins, netmap: NetMap, settings: object, observed: Observed
) -> Iterator[str]:
    once = tuple(plugins.contribute(netmap, {NAME: settings}, observed))
    twice = tuple(plugins.contribute(netmap, {NAME: settings}, observed))
    for owned in once:
        match owned.item:
            case Notice(code="plugin-failed", text=text):
                yield f"contribute() fails: {text}"
            case Notice() as notice if not notice.code or not notice.text:
                yield "a notice has no code or no text"
            case Resource() | Watch():
                yield from _is_value(owned)
            case _:
                pass
    if once != twice:
        yield "contribute() is not pure: asked twice, it says two things"
    conflicts = [n.text for n in merge(once).notices if n.code == "conflict"]
    yield from (f"it contradicts itself: {text}" for text in conflicts)


def _is_value(owned: Owned) -> Iterator[str]:
    try:
        hash(owned.item)
    except TypeError as error:
        yield f"{owned.item!r} cannot be hashed: {error}"
