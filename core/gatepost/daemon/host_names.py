"""Whom this machine itself asks for names: the applier's parts, an eye on the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from gatepost.linux.resolv import HostResolvers, why_not_ours

ETC = Path("/etc")
LOOK_EVERY = 2.0  # seconds between looks at whether somebody else wrote the file


async def watch_file(path: Path, on_change: Callable[[], None]) -> None:
    """Call `on_change`, which must not wait, when the file is another one; until cancelled."""
    seen = await asyncio.to_thread(_look, path)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = await asyncio.to_thread(_look, path)
        if now != seen:
            seen = now
            on_change()


def _look(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # there is none, or a link that leads nowhere
        return None
    return found.st_ino, found.st_mtime_ns


def make_resolvers(etc: Path, state: Path, now: Callable[[], float]) -> HostResolvers:
    """Return the applier. A directory that the operator named needs no judgement."""
    why_not = (lambda: why_not_ours(etc)) if etc == ETC else str
    return HostResolvers(etc, state, now, why_not=why_not)
