"""Keep our own addresses and the home region fresh, the more often while there is traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gatepost.model.netmap import DerpRegion
from gatepost.net.netcheck import StunClient
from gatepost.net.paths_own import OwnAddresses
from gatepost.sessions.netcheck import GRACE, Report

ACTIVE = 20.0  # seconds between checks while a peer has traffic; a random 0 to 6 on top
IDLE = 300.0  # seconds between checks otherwise
SECOND = 1.0  # seconds from the first check, which waits for the nearest only, to the next
FIRST_GRACE = 0.15  # seconds for other regions to answer before the first home is chosen


class Survey:
    """Asks the STUN servers of `regions`, and calls `publish` with what there is to tell."""

    def __init__(
        self,
        own: OwnAddresses,
        stun: StunClient,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        is_busy: Callable[[], bool],
        publish: Callable[[], None],
    ) -> None:
        self._own = own
        self._stun = stun
        self._clock = clock
        self._random = random_bytes
        self._is_busy = is_busy
        self._publish = publish
        self._wanted = asyncio.Event()
        self._epoch = 0
        self.regions: tuple[DerpRegion, ...] = ()

    def hurry(self) -> None:
        """Check now rather than in a while."""
        self._wanted.set()

    def begin_again(self) -> None:
        """Check now, and take nothing from a check that is under way."""
        self._epoch += 1
        self.hurry()

    async def check(self, grace: float = GRACE) -> Report:
        """Do one check; `grace` is seconds after the first answer."""
        epoch = self._epoch
        report = await self._stun.check(self.regions, grace=grace)
        if epoch == self._epoch:
            self._own.take(report, self.regions, self._clock())
            self._publish()
        return report

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

    def _interval(self) -> float:
        """Seconds to the next check; spread, so that the nodes of a mesh do not ask together."""
        if not self._is_busy():
            return IDLE
        return ACTIVE + self._random(1)[0] * 6 / 255
