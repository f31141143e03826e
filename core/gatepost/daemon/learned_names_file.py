"""Keeps over a restart which addresses peers were given for domains."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from gatepost.daemon.peer_names import PeerNames
from gatepost.daemon.store import Store
from gatepost.errors import Malformed, StateError
from gatepost.model.resource import Level, Notice
from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)

STATE = "learned-names"  # in the state directory
SAVE_EVERY = 1.0  # seconds between writes at least


@dataclass(slots=True)
class LearnedNamesFile:
    """Keeps what was learned over a restart; only the last version counts."""

    store: Store
    _latest: bytes | None = None
    _writing: bool = False
    _failure: str = ""
    _tasks: Tasks = field(default_factory=Tasks)

    def load(self, names: PeerNames) -> None:
        try:
            raw = self.store.load(STATE)
            if raw is not None:
                names.load(raw)
        except (StateError, Malformed) as error:
            log.warning("learned names are lost, and learned again when asked for: %s", error)

    def save(self, raw: bytes) -> None:
        """Save soon. Never waits."""
        self._latest = raw
        if not self._writing:
            self._writing = True
            self._tasks.spawn(self._write(), "save learned names")

    def notices(self) -> tuple[Notice, ...]:
        if not self._failure:
            return ()
        return (Notice("state-not-saved", f"{self._failure}: make room", Level.ERROR),)

    async def close(self) -> None:
        """Write what is still waiting."""
        await self._tasks.close()
        await self._write_latest()

    async def _write(self) -> None:
        try:
            while self._latest is not None:
                await self._write_latest()
                await asyncio.sleep(SAVE_EVERY)
        finally:
            self._writing = False

    async def _write_latest(self) -> None:
        raw, self._latest = self._latest, None
        if raw is None:
            return
        try:
            await asyncio.to_thread(self.store.save, STATE, raw)
        except StateError as error:
            self._failure = str(error)
            log.error("%s", error)  # noqa: TRY400  # the trace says nothing more
        else:
            self._failure = ""
