"""The applier of `Sysctl`: kernel switches under /proc/sys."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

from gatepost.model.kernel import Sysctl
from gatepost.model.resource import Change, Resource


class Sysctls:
    """Owns a switch only while somebody wants it.

    `wanted` names the switches that are wanted now; `read` looks at those and no
    others. The former value is not remembered: when nobody wants a switch any
    more it stays as it is, because a value put back would overwrite what the
    operator or another program has set meanwhile.
    """

    applies: type[Resource] = Sysctl

    def __init__(self, wanted: Callable[[], Iterable[str]], root: Path = Path("/proc/sys")) -> None:
        self._wanted = wanted
        self._root = root

    async def read(self) -> frozenset[Resource]:
        found = set[Resource]()
        for name in self._wanted():
            try:
                found.add(Sysctl(name, self._value(name)))
            except FileNotFoundError:
                continue  # the write will say so
        return frozenset(found)

    async def write(self, changes: tuple[Change, ...]) -> None:
        """Write what differs; raise the first refusal after the last, naming the switch."""
        refused: list[OSError] = []
        for change in changes:
            if isinstance(change.new, Sysctl):
                try:
                    self._set(change.new)
                except OSError as error:
                    text = f"{change.new.name} = {change.new.value}: {error.strerror}"
                    refused.append(OSError(error.errno, text))
        if refused:
            raise refused[0]

    def _set(self, switch: Sysctl) -> None:
        if self._value(switch.name) != _plain(switch.value):
            self._path(switch.name).write_text(switch.value + "\n", "ascii")

    def _value(self, name: str) -> str:
        return _plain(self._path(name).read_text("ascii"))

    def _path(self, name: str) -> Path:
        # As sysctl(8): dots separate, and a slash stands for a dot inside a device's name.
        parts = [p.replace("/", ".") for p in name.split(".")]
        if not all(parts) or ".." in parts:
            raise OSError(errno.EINVAL, f"{name!r} is not the name of a kernel switch")
        return self._root.joinpath(*parts)


def _plain(value: str) -> str:
    """Several numbers are separated by tabs in the kernel, by spaces in people's texts."""
    return " ".join(value.split())
