"""When which regions are asked, and what where no UDP comes through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from tests.sessions.paths_world import make_random

from gatepost.model.netmap import DerpNode, DerpRegion, Endpoint
from gatepost.net.netcheck import StunClient
from gatepost.net.paths_own import OwnAddresses
from gatepost.net.paths_survey import Survey
from gatepost.sessions.home import REMEMBERED
from gatepost.wire.stun import read_request, write_answer

US = Endpoint(IPv4Address("198.51.100.9"), 5000)
REGIONS = tuple(
    DerpRegion(
        id=n,
        code=f"r{n}",
        name=f"Region {n}",
        nodes=(DerpNode(name=f"{n}a", host=f"203.0.113.{n}"),),
    )
    for n in range(1, 7)
)


class Web:
    """Relays by HTTP; it counts how often all were asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def latencies(self, regions: Iterable[DerpRegion]) -> Mapping[int, float]:
        self.asked += 1
        return {r.id: r.id / 100 for r in regions}

    async def captive_portal(self, regions: Iterable[DerpRegion]) -> bool | None:
        return bool(list(regions))


class Ground:
    """A survey among STUN servers that answer at once, the later the higher their number."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[int] = []
        self.published = 0
        self.is_blocked = False
        self.web = Web()
        self._stun = StunClient(self._send, self._clock, make_random())
        self.own = OwnAddresses(tuple, 41641)
        self.survey = Survey(
            self.own,
            self._stun,
            clock=self._clock,
            random_bytes=make_random(),
            is_busy=lambda: True,
            publish=self._publish,
            http=self.web,
        )
        self.survey.regions = REGIONS

    def _clock(self) -> float:
        """Return the simulated seconds; a look at the clock takes a while where nobody answers."""
        self.now += 0.5 if self.is_blocked else 0.0001
        return self.now

    def _publish(self) -> None:
        self.published += 1

    def _send(self, to: Endpoint, packet: bytes) -> None:
        self.asked.append(to.address.packed[-1])
        if not self.is_blocked:
            back = packet if to == US else write_answer(read_request(packet), US)
            asyncio.get_running_loop().call_soon(self._stun.on_packet, back)

    async def check(self, *, full: bool = False) -> set[int]:
        """Check once; return the regions that were asked."""
        self.asked.clear()
        await self.survey.check(full=full)
        return set(self.asked)


async def test_all_are_asked_first_and_then_the_nearest_and_the_home() -> None:
    ground = Ground()

    assert await ground.check() == set(range(1, 7))
    nearest = await ground.check()
    assert len(nearest) in {3, 4}
    assert ground.own.home in nearest


async def test_all_are_asked_again_after_five_minutes() -> None:
    ground = Ground()
    await ground.check()
    ground.now += REMEMBERED

    assert await ground.check() == set(range(1, 7))


async def test_all_are_asked_in_another_network_and_when_somebody_looks() -> None:
    ground = Ground()
    await ground.check()
    ground.survey.begin_again()
    assert await ground.check() == set(range(1, 7))

    assert await ground.check(full=True) == set(range(1, 7))


async def test_all_are_asked_when_there_are_other_regions() -> None:
    ground = Ground()
    await ground.check()
    ground.survey.regions = REGIONS[:5]

    assert await ground.check() == set(range(1, 6))


async def test_what_few_servers_cannot_say_is_kept() -> None:
    ground = Ground()
    await ground.check()
    ground.survey.regions = REGIONS[:1]
    await ground.check()

    assert ground.own.report is not None
    assert ground.own.report.varies is False


async def test_where_udp_is_blocked_the_home_is_chosen_by_https() -> None:
    ground = Ground()
    ground.is_blocked = True
    await ground.check()

    assert ground.own.report is not None
    assert not ground.own.report.udp
    assert ground.own.home == 1
    assert ground.web.asked == 1
    assert ground.published == 1


async def test_https_is_not_asked_with_every_check() -> None:
    ground = Ground()
    ground.is_blocked = True
    for _ in range(5):
        await ground.check()
    assert ground.web.asked == 1
    ground.now += REMEMBERED
    await ground.check()

    assert ground.web.asked == 2


async def test_a_region_that_may_not_be_home_is_not_measured() -> None:
    ground = Ground()
    ground.survey.regions = (replace(REGIONS[0], may_be_home=False), *REGIONS[1:3])

    assert await ground.check() == {2, 3}
    assert ground.own.home in {2, 3}


async def test_a_score_favours_a_region() -> None:
    ground = Ground()
    ground.is_blocked = True
    ground.survey.regions = (*REGIONS[:3], replace(REGIONS[3], score=0.1))
    await ground.check()

    assert ground.own.home == 4


async def test_a_look_at_everything_includes_captive_portals() -> None:
    ground = Ground()
    report, portal = await ground.survey.examine()

    assert report.udp
    assert report.hairpin is True
    assert portal is True
