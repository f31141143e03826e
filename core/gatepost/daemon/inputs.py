"""The three snapshots that everything follows from, and who is told when one is replaced.

Only the control loop replaces the netmap, only the settings service the
settings, only the observer what is observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gatepost.model.netmap import NetMap
from gatepost.model.observed import Observed, Watch


class Inputs:
    """The latest netmap, settings and observations. `version` grows with every change."""

    def __init__(self) -> None:
        self.netmap: NetMap | None = None
        self.netmap_stored = False
        self.wanted: bool | None = None  # None before the settings could be read
        self.settings: Mapping[str, Any] = MappingProxyType({})
        self.observed = Observed()
        self.version = 0
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change; it must not wait."""
        self._listeners.append(listener)

    def set_netmap(self, netmap: NetMap | None, *, stored: bool) -> None:
        """Replace the netmap; `stored` says that it comes from the disk, not from the server."""
        changed = netmap != self.netmap
        self.netmap, self.netmap_stored = netmap, stored
        if changed:
            self._changed()

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the `Settings` of each enabled plugin."""
        if settings != self.settings:
            self.settings = MappingProxyType(dict(settings))
            self._changed()

    def set_wanted(self, wanted: bool) -> None:
        """Say whether the mesh should be up at all."""
        if wanted != self.wanted:
            self.wanted = wanted
            self._changed()

    def answer(self, answers: Mapping[Watch[Any], object]) -> None:
        """Merge new answers into what is observed."""
        known = self.observed.answers
        news = {w: a for w, a in answers.items() if w not in known or known[w] != a}
        if news:
            self.observed = Observed(MappingProxyType({**known, **news}))
            self._changed()

    def answer_one(self, watch: Watch[Any], answer: object) -> None:
        """Take the answer of a service."""
        self.answer({watch: answer})

    def forget(self, watches: frozenset[Watch[Any]]) -> None:
        """Drop the answers to questions that nobody asks any more."""
        rest = {w: a for w, a in self.observed.answers.items() if w not in watches}
        if len(rest) != len(self.observed.answers):
            self.observed = Observed(MappingProxyType(rest))
            self._changed()

    def touch(self) -> None:
        """Everything has to be asked again: a plugin came or went, or the box was set anew."""
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        for listener in self._listeners:
            listener()
