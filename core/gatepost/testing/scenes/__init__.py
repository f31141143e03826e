"""Scenes: what a box is bought for, shown on real packets (`./run --scene NAME`).

Each file here is one scene, found by its name (`site_to_site.py` is `site-to-site`); one that
begins with `_` is none. Its docstring's first line says what it shows, and it has

    def run(tell: Tell) -> Iterable[Row]:

which builds what it needs, proves its point, and takes all down again. `tell` prints a line
of progress. A row that does not hold is returned, not raised: the other rows are worth seeing.
LabError is for a ground that could not be built.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Protocol, cast

import msgspec

from gatepost.testing.netns import LabError

Tell = Callable[[str], None]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One claim. `figure` is what was measured, with its unit; "" if nothing was."""

    shown: str
    expected: str
    seen: str
    ok: bool
    figure: str = ""


class Scene(Protocol):
    """The module of a scene."""

    __doc__: str | None

    def run(self, tell: Tell, /) -> Iterable[Row]:
        """Show it; yield or return the rows in the order of a reader."""
        ...


def names() -> tuple[str, ...]:
    """Return the names of all scenes in order."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def find(name: str) -> Scene:
    """Import a scene; raise LabError, which names the others, when there is no such."""
    if name not in names():
        raise LabError(f"no scene {name!r}; there are {', '.join(names())}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast("Scene", module)  # a module has no better type; the tests of scenes check it


def expect(shown: str, expected: object, seen: object, *, figure: str = "") -> Row:
    """Return the row of a claim that holds if both sides read the same."""
    wanted, found = str(expected), str(seen)
    return Row(shown=shown, expected=wanted, seen=found, ok=wanted == found, figure=figure)


def at_most(shown: str, limit: float, seen: float, unit: str) -> Row:
    """Return the row of a claim that holds if a measure is not above its limit."""
    return Row(
        shown=shown,
        expected=f"at most {limit:g} {unit}",
        seen=f"{seen:.4g} {unit}",
        ok=seen <= limit,
        figure=f"{seen:.4g} {unit}",
    )
