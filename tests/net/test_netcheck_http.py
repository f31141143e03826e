"""Latencies by HTTPS and captive portals, against our own relay and against impostors."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from tests.net.derp_bed import relaying
from tests.net.serving import serving

from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.derp_server import DerpServer
from gatepost.net.http_server import Request, Response
from gatepost.net.netcheck_http import HttpProbes
from gatepost.testing.makers import make_private

PLAIN = DerpNode(name="1a", host="relay.example", address_v4=IPv4Address("127.0.0.1"), port_80=True)


async def test_a_relay_that_proves_itself_has_a_latency(tmp_path: Path) -> None:
    async with relaying(tmp_path) as here:
        measured = await HttpProbes().latencies([here.region()])

    assert set(measured) == {900}
    assert 0 < measured[900] < 3


async def test_an_impostor_and_a_dead_relay_have_none(tmp_path: Path) -> None:
    async with relaying(tmp_path) as here:
        wrong = here.region(pin=f"sha256-raw:{'0' * 64}")
        dead = replace(here.region(port=1), id=901)

        assert await HttpProbes().latencies([wrong, dead]) == {}


async def test_the_next_relay_of_a_region_is_asked(tmp_path: Path) -> None:
    async with relaying(tmp_path) as here:
        alive, dead = here.region().nodes[0], here.region(port=1).nodes[0]
        stun = replace(dead, stun_only=True)
        region = DerpRegion(id=1, code="r", name="R", nodes=(stun, dead, alive))

        assert set(await HttpProbes().latencies([region])) == {1}


async def test_our_relay_is_no_captive_portal() -> None:
    server = DerpServer(make_private(1), _never)

    async def handle(request: Request) -> Response:
        answer = server.handle(request)
        assert isinstance(answer, Response)
        return answer

    async with serving(handle) as here:
        assert await portal(here.port) is False


@pytest.mark.parametrize(
    "answer",
    [
        Response(status=204),
        Response(status=200, body=b"please log in"),
        Response(status=302, headers=(("Location", "http://10.0.0.1/"),)),
        Response(status=204, headers=(("X-Tailscale-Response", "response of yesterday"),)),
    ],
)
async def test_whoever_else_answers_is_a_captive_portal(answer: Response) -> None:
    async def handle(_request: Request) -> Response:
        return answer

    async with serving(handle) as here:
        assert await portal(here.port) is True


async def test_where_nobody_answers_nothing_is_known() -> None:
    assert await portal(1) is None


async def test_relays_without_a_plain_port_are_not_asked() -> None:
    regions = [DerpRegion(id=1, code="r", name="R", nodes=(replace(PLAIN, port_80=False),))]

    assert await HttpProbes(plain_port=1).captive_portal(regions) is None


async def portal(port: int) -> bool | None:
    region = DerpRegion(id=1, code="r", name="R", nodes=(PLAIN,))
    return await HttpProbes(plain_port=port).captive_portal([region])


async def _never(_key: object, _address: str) -> bool:
    return False
