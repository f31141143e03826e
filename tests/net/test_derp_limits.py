"""What one client, or many, may use of a relay: its rate, its connections, its silence."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.net.derp_bed import joined, relaying
from tests.net.waiting import eventually

from gatepost.errors import RefusedError
from gatepost.sessions.derp_member import RelayLimits
from gatepost.sessions.derp_server import WRITE_TIMEOUT
from gatepost.testing.makers import make_private
from gatepost.wire.derp import write_packet

RATE = 400_000.0  # octets a second
BURST = 100_000.0


async def test_a_client_over_its_rate_is_slowed_and_loses_nothing(tmp_path: Path) -> None:
    limits = RelayLimits(rate=RATE, burst=BURST)
    async with (
        relaying(tmp_path, limits=limits) as bed,
        bed.greeted(make_private(1)) as (_, writer),
        joined(bed, 2) as b,
    ):
        count = 400  # 574,800 octets: over a second at this rate, behind the burst
        began = asyncio.get_running_loop().time()
        writer.write(write_packet(b.key, bytes(1400)) * count)
        await eventually(lambda: len(b.packets) == count)
        took = asyncio.get_running_loop().time() - began
        counters = bed.server.counters()

    assert took > 0.5
    assert counters.slowed > 0
    assert sum(counters.dropped.values()) == 0


async def test_a_slowed_client_slows_nobody_else(tmp_path: Path) -> None:
    limits = RelayLimits(rate=RATE, burst=BURST)
    async with (
        relaying(tmp_path, limits=limits) as bed,
        bed.greeted(make_private(1)) as (_, writer),
        joined(bed, 2) as b,
        joined(bed, 3) as c,
    ):
        writer.write(write_packet(b.key, bytes(1400)) * 2000)  # seven seconds of it
        await eventually(lambda: bed.server.counters().slowed)
        c.send(b.key, b"quick")
        await eventually(lambda: (c.key, b"quick") in b.packets, within=3)
        writer.transport.abort()


async def test_other_servers_have_no_rate(tmp_path: Path) -> None:
    limits = RelayLimits(rate=1000.0, burst=1000.0)
    async with (
        relaying(tmp_path, limits=limits, mesh_key="5e" * 32) as bed,
        bed.greeted(make_private(1), mesh_key="5e" * 32) as (_, writer),
        joined(bed, 2) as b,
    ):
        writer.write(write_packet(b.key, bytes(1400)) * 50)
        await eventually(lambda: len(b.packets) == 50, within=5)

        assert bed.server.counters().slowed == 0


async def test_connections_over_the_limit_are_refused_and_counted(tmp_path: Path) -> None:
    async with relaying(tmp_path, limits=RelayLimits(clients=20)) as bed, AsyncExitStack() as stack:
        for number in range(1, 21):
            await stack.enter_async_context(bed.greeted(make_private(number)))
        with pytest.raises(RefusedError, match="503"):
            await stack.enter_async_context(bed.greeted(make_private(99)))

        assert bed.server.counters().clients == 20
        assert bed.server.refused == {"full": 1}


async def test_a_place_that_becomes_free_is_given_again(tmp_path: Path) -> None:
    async with relaying(tmp_path, limits=RelayLimits(clients=1)) as bed:
        for _ in range(3):
            async with bed.greeted(make_private(1)):
                assert bed.server.counters().clients == 1
            await eventually(lambda: not bed.server.counters().clients)


async def test_a_client_that_vanished_while_packets_wait_for_it_is_dropped(tmp_path: Path) -> None:
    async with (
        relaying(tmp_path) as bed,
        joined(bed, 1) as a,
        bed.greeted(make_private(2)) as (reader, _),
    ):
        assert reader.at_eof() is False
        vanished = make_private(2).public
        while not any(c.waiting_octets for c in bed.server.clients()):
            a.send(vanished, bytes(60_000))
            await asyncio.sleep(0)
        bed.server.tick()  # sees how much is unsent
        bed.clock.passed += WRITE_TIMEOUT + 1
        bed.server.tick()
        await eventually(lambda: bed.server.counters().clients == 1)
