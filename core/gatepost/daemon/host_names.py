"""Whom this machine itself asks for names: the applier, its probe, and an eye on the file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatepost.linux.resolv import HostResolvers, why_not_ours
from gatepost.linux.resolv_file import NAME
from gatepost.model.observed import Watch
from gatepost.model.resolver import WatchHostServers

log = logging.getLogger(__name__)

ETC = Path("/etc")
LOOK_EVERY = 2.0  # seconds between looks at whether somebody else wrote the file


@dataclass(frozen=True, slots=True)
class HostServersProbe:
    resolvers: HostResolvers
    answers: type[Watch[Any]] = WatchHostServers

    async def ask(self, watch: Watch[Any]) -> object:  # noqa: ARG002  # there is one such question
        return await self.resolvers.observe()


@dataclass(slots=True, kw_only=True)
class HostNames:
    """`on_change` is called when the file is another one; it must not wait."""

    etc: Path
    resolvers: HostResolvers
    on_change: Callable[[], None]

    async def run(self) -> None:
        """Look at the file until cancelled."""
        seen = await asyncio.to_thread(self._look)
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = await asyncio.to_thread(self._look)
            if now != seen:
                seen = now
                self.on_change()

    def _look(self) -> tuple[int, int] | None:
        try:
            found = (self.etc / NAME).stat()
        except OSError:  # there is none, or a link that leads nowhere
            return None
        return found.st_ino, found.st_mtime_ns

    async def give_back(self) -> None:
        """Let this machine ask whom it asked before; log what goes wrong."""
        try:
            await self.resolvers.clean_up()
        except OSError as error:
            log.error("names of this machine: %s", error)  # noqa: TRY400  # the trace says nothing more


def make_resolvers(etc: Path, state: Path, now: Callable[[], float]) -> HostResolvers:
    """Return the applier. A directory that the operator named needs no judgement."""
    why_not = (lambda: why_not_ours(etc)) if etc == ETC else str
    return HostResolvers(etc, state, now, why_not=why_not)
