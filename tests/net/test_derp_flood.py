"""DERP under more than it can carry: the fast are served, the slow lose packets, nothing grows.

A stream that nobody reads stops reading its socket at 128 KiB.
"""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

from tests.net.derp_bed import Bed, joined, relaying
from tests.net.waiting import eventually

from gatepost.sessions.derp_counters import DropReason
from gatepost.sessions.derp_outbox import OutboxLimits
from gatepost.sessions.derp_server import WRITE_TIMEOUT
from gatepost.testing.makers import make_private
from gatepost.wire.derp import DISCO_MAGIC, FrameReader, write_packet
from gatepost.wire.derp_frames import Frame, ReceivePacket

SENDER, SLOW = make_private(1), make_private(3)
LIMITS = OutboxLimits()
BURST = b"".join(write_packet(SLOW.public, bytes(1400)) for _ in range(90))  # 129 KB
PACKETS = 90
KERNEL = 8 << 20  # octets that sockets and TLS may hold on the way


def waiting_for_slow(bed: Bed) -> int:
    return next(c.waiting_octets for c in bed.server.clients() if c.key == SLOW.public)


async def test_a_reader_that_never_reads_costs_bounded_memory_and_nobody_else_anything(
    tmp_path: Path,
) -> None:
    async with (
        relaying(tmp_path) as bed,
        joined(bed, 4) as a,
        joined(bed, 5) as b,
        bed.greeted(SENDER) as (_, writer),
        bed.greeted(SLOW) as (_, _),
    ):
        sent = 0
        while sent * 1437 < 30 << 20:
            writer.write(BURST)
            await writer.drain()
            sent += PACKETS
            assert waiting_for_slow(bed) <= LIMITS.octets + LIMITS.urgent * 1437
        a.send(b.key, b"unharmed")
        await eventually(lambda: b.packets)
        await eventually(lambda: bed.server.counters().received_packets == sent + 1)
        counters = bed.server.counters()

        assert counters.sent_packets * 1437 < KERNEL
        assert counters.dropped[DropReason.QUEUE_FULL] > sent / 2

        bed.server.tick()  # sees how much is unsent
        bed.clock.passed += WRITE_TIMEOUT + 1
        bed.server.tick()
        await eventually(lambda: bed.server.counters().clients == 3)


async def test_a_reader_gets_its_full_pace_while_twice_that_is_sent_to_it(tmp_path: Path) -> None:
    share, rounds = len(BURST) // 2, 300
    async with (
        relaying(tmp_path) as bed,
        bed.greeted(SENDER) as (_, writer),
        bed.greeted(SLOW) as (reader, _),
    ):
        got = 0
        for _ in range(rounds):
            writer.write(BURST)
            await writer.drain()
            got += len(await reader.readexactly(share))
            assert waiting_for_slow(bed) <= LIMITS.octets
        await eventually(lambda: bed.server.counters().received_packets == rounds * PACKETS)
        counters = bed.server.counters()

    lost = counters.dropped[DropReason.QUEUE_FULL] * 1437
    assert got == rounds * share
    assert rounds * share - KERNEL < lost <= rounds * share


async def test_what_a_slow_reader_gets_is_whole_in_order_and_fresh(tmp_path: Path) -> None:
    count = 20_000
    async with (
        relaying(tmp_path) as bed,
        bed.greeted(SENDER) as (_, writer),
        bed.greeted(SLOW) as (reader, _),
    ):
        for first in range(0, count, 100):
            numbered = (struct.pack(">I", n) + bytes(1396) for n in range(first, first + 100))
            writer.write(b"".join(write_packet(SLOW.public, payload) for payload in numbered))
            await writer.drain()
        await eventually(lambda: bed.server.counters().received_packets == count)
        frames = FrameReader()
        numbers: list[int] = []
        async with asyncio.timeout(20):
            while not numbers or numbers[-1] != count - 1:
                numbers += [_number(f) for f in frames.receive(await reader.read(65536))]

    assert numbers == sorted(set(numbers))
    assert len(numbers) < count
    assert numbers[-200:] == list(range(count - 200, count))


async def test_discovery_passes_a_client_that_is_flooded(tmp_path: Path) -> None:
    async with (
        relaying(tmp_path) as bed,
        bed.greeted(SENDER) as (_, writer),
        bed.greeted(SLOW) as (reader, _),
    ):
        while not waiting_for_slow(bed):
            writer.write(BURST)
            await writer.drain()
        writer.write(write_packet(SLOW.public, DISCO_MAGIC + bytes(80)) + BURST * 20)
        await writer.drain()
        frames = FrameReader()
        found = False
        async with asyncio.timeout(20):
            while not found:
                found = any(_is_disco(f) for f in frames.receive(await reader.read(65536)))


def _number(frame: Frame) -> int:
    assert isinstance(frame, ReceivePacket)
    assert len(frame.payload) == 1400
    return int(struct.unpack_from(">I", frame.payload)[0])


def _is_disco(frame: Frame) -> bool:
    return isinstance(frame, ReceivePacket) and frame.payload.startswith(DISCO_MAGIC)
