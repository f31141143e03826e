"""Keeps the kernel's table of flows as the relay session wants it, and reads its counters.

User space forwards a flow from the moment it is known; the kernel takes it over a
moment later. A new flow is put before the old one is dropped, so nothing is lost when
a client moves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from gatepost.net.relay_ports import Count, Forwarder
from gatepost.net.relay_socket import RelayTable
from gatepost.sessions.relay_server import STEADY_LIFETIME, Flow, Onward, Place, RelayServer

log = logging.getLogger(__name__)

HOUSEKEEPING = 10.0  # seconds between looks at counters and lifetimes


class OnKernel(Protocol):
    """Told before the first packet, and whenever it changes, whether the kernel forwards."""

    def __call__(self, *, works: bool) -> None: ...


class Flows:
    """What is forwarded where. `changed` may be called at any time; one task runs `run`."""

    def __init__(
        self,
        session: RelayServer,
        table: RelayTable,
        forwarder: Forwarder,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._table = table
        self._forwarder = forwarder
        self._clock = clock
        self._known: dict[int, Mapping[Flow, Onward]] = {}  # by VNI, in user space
        self._wanted: dict[Flow, Onward] = {}  # in the kernel, once the task got there
        self._installed: dict[Flow, Onward] = {}
        self._counted: dict[Flow, Count] = {}
        self._strangers: dict[Flow, tuple[Count, float]] = {}  # of an earlier run: last change
        self._news = asyncio.Event()
        self._look = True
        self._works: bool | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known if the kernel forwards."""
        return self._works is not None

    @property
    def is_behind(self) -> bool:
        """Whether the kernel's table differs from what is wanted."""
        return bool(self._works) and self._installed != self._wanted

    @property
    def adopted(self) -> int:
        """How many pairs of an earlier run the kernel still joins."""
        return len({flow.vni for flow in self._strangers})

    def changed(self, place: Place) -> None:
        """Forward what the place says now, and no more what it said before. Never waits."""
        self._replace(place.vni, place.flows())

    def poke(self) -> None:
        """Write the whole table again: routes may lead elsewhere. Never waits."""
        self._installed.clear()
        self.look()

    def look(self) -> None:
        """Look whether the kernel has another table than before. Never waits."""
        self._look = True
        self._news.set()

    async def run(self, on_kernel: OnKernel) -> None:
        """Follow the session until cancelled; what is in the kernel stays there."""
        due = self._clock()
        while True:
            self._news.clear()
            try:
                await self._follow(on_kernel, tidy=self._clock() >= due)
            except OSError as error:
                log.warning("the kernel's table of relayed flows: %s", error)
                self._look = True
            if self._clock() >= due:
                self._tidy_user_space()
                due = self._clock() + HOUSEKEEPING
            try:
                async with asyncio.timeout(max(due - self._clock(), 0.0)):
                    await self._news.wait()
            except TimeoutError:
                self._look = True

    async def _follow(self, on_kernel: OnKernel, *, tidy: bool) -> None:
        if self._look:
            self._look = False
            if await self._forwarder.look():
                self._installed.clear()
                self._counted.clear()
                await self._adopt()
            if self._works is not (works := not self._forwarder.trouble):
                self._works = works
                on_kernel(works=works)
                how = "by the kernel" if works else f"in user space: {self._forwarder.trouble}"
                log.info("relayed packets are forwarded %s", how)
        if not self._works:
            return
        await self._write()
        if tidy:
            await self._count()

    async def _write(self) -> None:
        """Bring the kernel's table from what was installed to what is wanted."""
        wanted = dict(self._wanted)
        news = {f: o for f, o in wanted.items() if self._installed.get(f) != o}
        gone = [f for f in self._installed if f not in wanted]
        if news:
            await self._forwarder.put(news)
            self._installed.update(news)
            for flow in news:  # what is put counts from 0
                self._counted.pop(flow, None)
        if gone:
            await self._forwarder.drop(gone)
            for flow in gone:
                del self._installed[flow]

    async def _adopt(self) -> None:
        """Leave the flows of an earlier run alone until they are idle; nobody gets their VNIs."""
        now = self._clock()
        found = await self._forwarder.counts()
        self._strangers = {f: (c, now) for f, c in found.items() if f not in self._wanted}
        self._session.reserve(f.vni for f in self._strangers)

    async def _count(self) -> None:
        """Read the kernel's counters: what moved lives, what did not for long is dropped."""
        now = self._clock()
        strangers = dict[Flow, tuple[Count, float]]()
        for flow, count in (await self._forwarder.counts()).items():
            if flow in self._installed:
                before = self._counted.get(flow, Count(0, 0))
                self._counted[flow] = count
                packets, octets = count.packets - before.packets, count.octets - before.octets
                self._session.on_traffic(flow.vni, flow.source, packets, octets, now)
            elif flow not in self._wanted:
                before, since = self._strangers.get(flow, (count, now))
                strangers[flow] = count, since if before == count else now
        idle = [f for f, (_, since) in strangers.items() if now - since > STEADY_LIFETIME]
        if idle:
            await self._forwarder.drop(idle)
        self._strangers = {f: known for f, known in strangers.items() if f not in idle}
        self._session.reserve(f.vni for f in self._strangers)

    def _tidy_user_space(self) -> None:
        now = self._clock()
        for target in self._table.targets.values():
            flow = target.flow
            self._session.on_traffic(flow.vni, flow.source, target.packets, target.octets, now)
            target.packets = target.octets = 0
        for place in self._session.expire(now):
            self._replace(place.vni, {})

    def _replace(self, vni: int, flows: Mapping[Flow, Onward]) -> None:
        before = self._known.pop(vni, {})
        if flows:
            self._known[vni] = flows
        for flow in before.keys() - flows.keys():
            self._table.drop(flow)
            self._wanted.pop(flow, None)
            self._counted.pop(flow, None)
        for flow, onward in flows.items():
            if before.get(flow) != onward:
                self._table.put(flow, onward)
                self._wanted[flow] = onward
        self._news.set()
