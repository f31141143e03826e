"""Puts the settings file in force: plugins on and off, their `Settings`, the login server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.settings_file import BoxSettings, Edit, SettingsFile
from gatepost.engine.plugins import REQUIRED, Plugins, find_plugins
from gatepost.engine.settings import read_settings
from gatepost.errors import NotFoundError, SettingsError
from gatepost.model.resource import Level, Notice

log = logging.getLogger(__name__)


@dataclass(slots=True)
class InForce:
    """The settings that count now. `on_node` is told when they change."""

    file: SettingsFile
    plugins: Plugins
    inputs: Inputs
    entry_points: Iterable[EntryPoint]
    on_node: Callable[[BoxSettings], None]
    box: BoxSettings = field(default_factory=BoxSettings)
    _notices: list[Notice] = field(default_factory=list[Notice])
    _points: Mapping[str, EntryPoint] = field(default_factory=dict[str, EntryPoint])
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._points = find_plugins(self.entry_points)

    def notices(self) -> tuple[Notice, ...]:
        return tuple(self._notices)

    def known(self) -> tuple[str, ...]:
        """Return the names of all plugins that are installed."""
        return tuple(self._points)

    def point(self, name: str) -> EntryPoint:
        """Return where a plugin is; raise `NotFoundError`."""
        if name not in self._points:
            known = ", ".join(self._points)
            near = get_close_matches(name, self._points, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise NotFoundError(f"no plugin is called {name!r}; installed are {known}", hint=hint)
        return self._points[name]

    async def reload(self) -> None:
        """Read the file again; a wrong one is a notice, and what counted before still does."""
        async with self._writing:
            try:
                self._apply(await asyncio.to_thread(self.file.load))
            except SettingsError as error:
                log.error("%s", error)  # noqa: TRY400  # the text says it all
                text = f"{error}; what was in force before still is"
                self._notices = [Notice("settings-wrong", text, Level.ERROR)]

    async def change(
        self, edits: tuple[Edit, ...], check: Callable[[BoxSettings], None] | None = None
    ) -> BoxSettings:
        """Change the file and put it in force; raise `SettingsError` and change nothing."""
        touched = {e.table[1] for e in edits if e.table[0] == "plugins"}

        def check_all(box: BoxSettings) -> None:
            for name in touched:
                self.read(name, box)
            if check is not None:
                check(box)

        for name in touched:  # in this thread: a plugin is code of ours or a stranger's
            self.settings_class(name)
        async with self._writing:
            box = await asyncio.to_thread(self.file.change, edits, check_all)
            self._apply(box)
        return box

    def settings_class(self, name: str) -> type[Any]:
        """Return a plugin's `Settings`; a plugin that is off is imported to ask for it."""
        info = self.plugins.info().get(name)
        if info is not None:
            return info.settings
        apart = Plugins()
        for notice in apart.load([self.point(name)], [name]):
            raise SettingsError(f"plugin {notice.text}")
        if name not in apart.info():
            raise SettingsError(f"plugin {name} does not describe itself, so it has no settings")
        return apart.info()[name].settings

    def read(self, name: str, box: BoxSettings) -> object:
        """Make a plugin's `Settings` of what the file says; raise `SettingsError`."""
        return read_settings(self.settings_class(name), box.of(name), name)

    def _apply(self, box: BoxSettings) -> None:
        notices = self.plugins.load(self._points.values(), box.enabled)
        for name in self.plugins.info().keys() - box.enabled:
            self.plugins.remove(name)
        for name in sorted((box.enabled | set(box.plugins)) - set(self._points)):
            text = f"the settings name the plugin {name}, which is not installed"
            notices.append(Notice("plugin-unknown", text))
        settings: dict[str, Any] = {}
        for name in self.plugins.info():
            try:
                settings[name] = self.read(name, box)
            except SettingsError as error:
                notices.append(Notice("settings-wrong", str(error), Level.ERROR))
                self._fall_back(name, settings)
        has_changed = (box.enabled, box.node) != (self.box.enabled, self.box.node)
        self.box, self._notices = box, notices
        self.inputs.set_settings(settings)
        self.inputs.set_wanted(box.node.wanted == "up")
        if has_changed:
            self.inputs.touch()
        self.on_node(box)

    def _fall_back(self, name: str, settings: dict[str, Any]) -> None:
        """Use what counted before; the data plane has defaults that always work."""
        before = self.inputs.settings.get(name)
        if before is not None:
            settings[name] = before
        elif name in REQUIRED:
            settings[name] = self.settings_class(name)()
