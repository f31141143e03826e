"""Keep our own addresses and the home region fresh, the more often while there is traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from gatepost.model.netmap import DerpRegion
from gatepost.model.owned import MARK
from gatepost.net.netcheck import StunClient
from gatepost.net.netcheck_http import HttpProbes
from gatepost.net.paths_own import OwnAddresses
from gatepost.sessions.home import REMEMBERED, regions_to_ask
from gatepost.sessions.netcheck import GRACE, Report

ACTIVE = 20.0  # seconds between checks while a peer has traffic; a random 0 to 6 on top
IDLE = 300.0  # seconds between checks otherwise
SECOND = 1.0  # seconds from the first check, which waits for the nearest only, to the next
FIRST_GRACE = 0.15  # seconds for other regions to answer before the first home is chosen


class HttpAsker(Protocol):
    """Asks relays by HTTP; `net.netcheck_http.HttpProbes` does."""

    async def latencies(self, regions: Iterable[DerpRegion]) -> Mapping[int, float]: ...
    async def captive_portal(self, regions: Iterable[DerpRegion]) -> bool | None: ...


class Survey:
    """Asks the STUN servers of `regions`, and calls `publish` with what there is to tell.

    Every five minutes and in a new network it asks all regions, else the home
    and the nearest. Where no UDP comes through, HTTPS says how far they are.
    """

    def __init__(
        self,
        own: OwnAddresses,
        stun: StunClient,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        is_busy: Callable[[], bool],
        publish: Callable[[], None],
        http: HttpAsker | None = None,
    ) -> None:
        self._own = own
        self._stun = stun
        self._clock = clock
        self._random = random_bytes
        self._is_busy = is_busy
        self._publish = publish
        self._http: HttpAsker = http or HttpProbes(MARK)
        self._wanted = asyncio.Event()
        self._epoch = 0
        self._full: tuple[float, int, frozenset[int]] | None = None  # the last full check
        self._https: tuple[float, int, Mapping[int, float]] | None = None  # when, where, what
        self.regions: tuple[DerpRegion, ...] = ()

    def hurry(self) -> None:
        """Check now rather than in a while."""
        self._wanted.set()

    def begin_again(self) -> None:
        """Check now, and take nothing from a check that is under way."""
        self._epoch += 1
        self.hurry()

    async def check(
        self, grace: float = GRACE, *, full: bool = False, hairpin: bool = False
    ) -> Report:
        """Do one check; `grace` is seconds after the first answer."""
        epoch = self._epoch
        known = self._known()
        is_full = full or self._is_full_due()
        asked = regions_to_ask(known, self._own.home, self._own.history.best(), full=is_full)
        if asked == known:
            self._full = self._clock(), epoch, known
        regions = [r for r in self.regions if r.id in asked]
        report = await self._stun.check(regions, grace=grace, hairpin=hairpin)
        if not report.udp and regions:
            report = replace(report, https=await self._by_https(epoch, anew=full))
        if epoch == self._epoch:
            self._own.take(report, self.regions, self._clock())
            self._publish()
        return report

    async def examine(self) -> tuple[Report, bool | None]:
        """Check all there is; return what was found, and whether there is a captive portal."""
        async with asyncio.TaskGroup() as group:
            portal = group.create_task(self._http.captive_portal(self.regions))
            report = await self.check(full=True, hairpin=True)
        return report, portal.result()

    async def run(self) -> None:
        """Check for as long as the node lives."""
        first = True
        while True:
            self._wanted.clear()
            wait = self._interval()
            if self.regions:
                await self.check(FIRST_GRACE if first else GRACE)
                wait, first = SECOND if first else self._interval(), False
            try:
                async with asyncio.timeout(wait):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _by_https(self, epoch: int, *, anew: bool) -> Mapping[int, float]:
        """Return latencies by HTTPS; they cost the relays TLS, so not with every check."""
        if not anew and self._https is not None:
            when, where, known = self._https
            if where == epoch and self._clock() - when < REMEMBERED:
                return known
        measured = await self._http.latencies([r for r in self.regions if r.may_be_home])
        self._https = self._clock(), epoch, measured
        return measured

    def _known(self) -> frozenset[int]:
        """Return the regions that may be measured."""
        return frozenset(r.id for r in self.regions if r.may_be_home)

    def _is_full_due(self) -> bool:
        """Say whether the last full check is too old, or was of another network or other relays."""
        if self._full is None or self._own.report is None or not self._own.report.udp:
            return True
        when, epoch, known = self._full
        is_other = (epoch, known) != (self._epoch, self._known())
        return is_other or self._clock() - when >= REMEMBERED

    def _interval(self) -> float:
        """Seconds to the next check; spread, so that the nodes of a mesh do not ask together."""
        if not self._is_busy():
            return IDLE
        return ACTIVE + self._random(1)[0] * 6 / 255
