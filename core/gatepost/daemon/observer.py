"""Answers the plugins' questions.

Asks the probe of each watch, and again when the answer may have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from gatepost.daemon.inputs import Inputs
from gatepost.hookspecs import Probe
from gatepost.model.observed import Watch
from gatepost.model.process import WatchFact
from gatepost.model.resource import Notice
from gatepost.model.routing import WatchRouting

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds for one answer
GATHER = 0.2  # seconds to let a burst of kernel events pass


class Observer:
    """The open questions and their answers. One task runs `run`."""

    def __init__(self, inputs: Inputs, probes: Iterable[Probe], clock: Callable[[], float]) -> None:
        self._inputs = inputs
        self._probes = {probe.answers: probe for probe in probes}
        self._clock = clock
        self._watches: frozenset[Watch[Any]] = frozenset()
        self._asked: dict[Watch[Any], float] = {}
        self._failures: dict[Watch[Any], Notice] = {}
        self._stale = asyncio.Event()

    def notices(self) -> tuple[Notice, ...]:
        """Say which questions have no answer, and why."""
        return tuple(self._failures.values())

    async def watch(self, watches: frozenset[Watch[Any]]) -> bool:
        """Replace the set of questions and ask what is new; True when an answer came."""
        gone = self._watches - watches
        fresh = frozenset(w for w in watches if w not in self._asked)
        self._watches = watches
        for question in gone:
            self._asked.pop(question, None)
            self._failures.pop(question, None)
        self._inputs.forget(gone)
        before = self._inputs.version
        await self._ask(fresh)
        return self._inputs.version != before

    def poke(self) -> None:
        """Everything may have changed: ask again soon. Never waits."""
        self._stale.set()

    async def run(self) -> None:
        """Ask again after each `poke`, and some after their time, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_due()):
                    await self._stale.wait()
            if self._stale.is_set():
                await asyncio.sleep(GATHER)
                self._stale.clear()
                await self._ask(self._watches)
            else:
                await self._ask(frozenset(w for w in self._watches if self._due(w) <= 0))

    def _due(self, watch: Watch[Any]) -> float:
        """Return the seconds until a question is asked again; some have a period of their own."""
        if not isinstance(watch, (WatchFact, WatchRouting)):
            return float("inf")
        return self._asked.get(watch, 0.0) + watch.every.total_seconds() - self._clock()

    def _next_due(self) -> float | None:
        soonest = min((self._due(w) for w in self._watches), default=float("inf"))
        return None if soonest == float("inf") else max(soonest, 0.0)

    async def _ask(self, watches: frozenset[Watch[Any]]) -> None:
        ordered = sorted(watches, key=repr)
        answers = await asyncio.gather(*(self._ask_one(w) for w in ordered))
        known = {w: a for w, a in zip(ordered, answers, strict=True) if a is not None}
        if known:
            self._inputs.answer(known)

    async def _ask_one(self, watch: Watch[Any]) -> object | None:
        self._asked[watch] = self._clock()
        probe = self._probes.get(type(watch))
        if probe is None:
            return None  # answered by a service, or by the core itself
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await probe.ask(watch)
        except Exception as error:  # noqa: BLE001  # a probe may be a stranger's
            if watch not in self._failures:
                log.warning("no answer to %r: %r", watch, error)
            self._failures[watch] = Notice("no-answer", f"{watch} cannot be answered: {error}")
            return None
        self._failures.pop(watch, None)
        return answer
