"""`gatepost why`: who is asked, for how long, and what the document says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from tests.sessions.test_why import BY_DERP, DIRECT, EASY, WELL

from gatepost.daemon.why import Witnesses, why_peer
from gatepost.errors import UnreachableError
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import AddressRange, FilterRule, NetMap, PortRange
from gatepost.model.status import WhyDocument
from gatepost.net.path_ports import PingResult
from gatepost.sessions.paths_report import PathReport
from gatepost.testing.makers import make_netmap, make_node

NOW = 1_800_000_000.0
NOWHERE = ip_address("0.0.0.1")  # no echo comes back
PEER = make_node(2)
EVERYBODY = AddressRange(ip_address("0.0.0.0"), ip_address("255.255.255.255"))
OPEN = FilterRule(sources=(EVERYBODY,), destinations=((EVERYBODY, PortRange()),))


@dataclass
class Paths:
    """A path that is direct from the `good`th ping on."""

    good: int = 1
    known: bool = True
    pings: int = 0
    surveys: list[float] = field(default_factory=list[float])

    async def ping(self, _key: NodePublic, _seconds: float) -> PingResult:
        self.pings += 1
        return PingResult(0.02)

    def report(self, _key: NodePublic) -> PathReport | None:
        if not self.known:
            return None
        return DIRECT if self.pings >= self.good else BY_DERP

    async def survey(self) -> None:
        self.surveys.append(NOW)


def make_map(*rules: FilterRule) -> NetMap:
    return replace(make_netmap(2), filter=rules)


async def why(paths: Paths, netmap: NetMap, seconds: float = 0.2) -> WhyDocument:
    async def handshake(_key: NodePublic) -> float | None:
        return NOW - 5.0

    witnesses = Witnesses(
        report=paths.report,
        path_ping=paths.ping,
        handshake=handshake,
        survey=paths.survey,
        network=lambda: EASY,
        seen=lambda: (),
        control=lambda: WELL.control,
        derp=lambda: WELL.derp,
        now=lambda: NOW,
    )
    return await why_peer(netmap, (PEER, NOWHERE), seconds, witnesses)


def codes(document: WhyDocument) -> list[str]:
    return [finding.code for finding in document.findings]


async def test_a_direct_path_is_enough() -> None:
    paths = Paths()
    document = await why(paths, make_map(OPEN))

    assert (paths.pings, len(paths.surveys)) == (1, 1)
    assert (document.path, document.answered) == ("direct", True)
    assert document.summary.startswith(f"{PEER.label} is reached directly at 198.51.100.2:41641")


async def test_a_peer_is_tried_again_until_the_path_is_direct() -> None:
    paths = Paths(good=2)
    document = await why(paths, make_map(OPEN), seconds=5.0)

    assert (paths.pings, document.path) == (2, "direct")


async def test_when_time_is_up_it_says_what_was_tried() -> None:
    paths = Paths(good=1000)
    document = await why(paths, make_map(OPEN))

    assert document.path == "derp"
    assert [one.via for one in document.tries] == ["198.51.100.2:41641", "203.0.113.2:41641"]
    assert "pings-dropped" in codes(document)


async def test_a_policy_that_lets_nothing_in_is_named() -> None:
    assert "policy-denies" in codes(await why(Paths(), make_map()))
    assert "policy-denies" not in codes(await why(Paths(), make_map(OPEN)))


async def test_an_echo_that_does_not_come_back_is_named() -> None:
    assert "echo-dropped" in codes(await why(Paths(), make_map(OPEN)))


async def test_without_a_mesh_there_is_nothing_to_say() -> None:
    with pytest.raises(UnreachableError, match="the mesh is down"):
        await why(Paths(known=False), make_map(OPEN))
