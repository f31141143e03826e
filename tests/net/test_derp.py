"""DERP over loopback TLS: our server with our client, and with peers that misbehave."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from tests.net.derp_bed import REGION, Node, joined, relaying
from tests.net.waiting import eventually

from gatepost.net.derp_region import IDLE
from gatepost.net.derp_server import GREETINGS_EACH, DerpServer
from gatepost.sessions.derp_client import READ_TIMEOUT
from gatepost.sessions.derp_counters import DropReason
from gatepost.sessions.derp_duplicates import PROBLEM
from gatepost.sessions.derp_handshake import DEADLINE
from gatepost.sessions.derp_member import RelayLimits
from gatepost.testing.makers import make_private
from gatepost.wire.derp import DISCO_MAGIC, PACKET_LIMIT, write_frame
from gatepost.wire.derp_frames import ForwardPacket, GoneReason, NotePreferred, WatchPeers

UPGRADE = b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
DISCO = DISCO_MAGIC + bytes(80)


async def test_packets_go_both_ways(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a, joined(bed, 2) as b:
        a.send(b.key, b"hello")
        b.send(a.key, b"and back")
        await eventually(lambda: a.packets and b.packets)

        assert b.packets == [(a.key, b"hello")]
        assert a.packets == [(b.key, b"and back")]


@pytest.mark.parametrize("size", [0, 1, 1400, PACKET_LIMIT])
async def test_packets_of_every_size_arrive_whole_and_in_order(tmp_path: Path, size: int) -> None:
    sent = [bytes([i]) * size for i in range(40)]
    async with relaying(tmp_path) as bed, joined(bed, 1) as a, joined(bed, 2) as b:
        for payload in sent:
            a.send(b.key, payload)
            await asyncio.sleep(0)
        await eventually(lambda: len(b.packets) == len(sent))

        assert [payload for _, payload in b.packets] == sent


async def test_a_region_that_is_not_home_is_dialled_when_a_packet_goes_there(
    tmp_path: Path,
) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1, home=False) as a, joined(bed, 2) as b:
        assert not a.clients.connected(REGION)
        a.send(b.key, b"first")
        await eventually(lambda: b.packets)

        assert b.packets == [(a.key, b"first")]
        assert not a.clients.states()[REGION].home


async def test_a_region_that_is_not_home_is_left_when_idle_and_home_is_not(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1, home=False) as a, joined(bed, 2) as b:
        a.send(b.key, b"x")
        await eventually(lambda: b.packets)
        bed.clock.passed += IDLE + 1
        for node in (a, b):
            node.clients.sweep()
        await eventually(lambda: not a.clients.connected(REGION))

        assert b.clients.connected(REGION)
        assert a.problem == ""

        a.send(b.key, b"again")
        await eventually(lambda: len(b.packets) == 2)


async def test_a_region_that_does_not_exist_takes_nothing(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        assert not a.clients.send(7, a.key, b"x")


async def test_the_server_knows_whose_home_it_is(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a, joined(bed, 2):
        await eventually(lambda: bed.server.counters().homes == 2)
        a.clients.set_home(0)
        await eventually(lambda: bed.server.counters().homes == 1)


async def test_a_wrong_pin_is_refused_and_no_word_is_said(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed:
        region = bed.region(pin="sha256-raw:" + "0" * 64)
        async with joined(bed, 1, region=region) as a:
            await eventually(lambda: a.problem)

            assert "pinned is 0000" in a.problem
            assert bed.server.counters().clients == 0


async def test_an_expired_certificate_is_refused_though_it_is_pinned(tmp_path: Path) -> None:
    def later() -> datetime:
        return datetime(2099, 1, 1, tzinfo=UTC)

    async with relaying(tmp_path) as bed, joined(bed, 1, region=bed.region(), today=later) as a:
        await eventually(lambda: a.problem)

        assert "clock says 2099-01-01" in a.problem


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1, region=bed.region(pin="")) as a:
        await eventually(lambda: a.problem)

        assert "self-signed certificate" in a.problem


async def test_an_insecure_node_is_believed(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed:
        region = bed.region(pin="", insecure=True)
        async with joined(bed, 1, region=region) as a:
            await eventually(lambda: a.clients.connected(REGION))


async def test_the_next_node_of_a_region_is_tried_when_one_is_away(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed:
        (here,) = bed.region().nodes
        (away,) = bed.region(port=1).nodes
        region = bed.region().__class__(id=REGION, code="", name="", nodes=(away, here))
        async with joined(bed, 1, region=region) as a:
            await eventually(lambda: a.clients.connected(REGION))


async def test_a_node_that_is_not_admitted_is_turned_away(tmp_path: Path) -> None:
    async with relaying(tmp_path, admits=False) as bed:
        region = bed.region()
        async with joined(bed, 1, region=region) as a:
            await eventually(lambda: a.problem)

            assert bed.server.counters().clients == 0
            assert not a.clients.connected(REGION)


async def test_an_expelled_node_is_disconnected_and_stays_out(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        bed.refused.add(a.key)
        assert bed.server.expel(a.key) == 1
        await eventually(lambda: a.problem)

        assert bed.server.counters().clients == 0


async def test_a_full_relay_turns_the_next_one_away(tmp_path: Path) -> None:
    async with relaying(tmp_path, limits=RelayLimits(clients=1)) as bed, joined(bed, 1):
        region = bed.region()
        async with joined(bed, 2, region=region) as b:
            await eventually(lambda: b.problem)

            assert "503" in b.problem


async def test_a_peer_that_leaves_is_missed_by_those_who_heard_from_it(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        async with joined(bed, 2) as b:
            b.send(a.key, b"x")
            await eventually(lambda: a.packets)
        await eventually(lambda: a.gone)

        assert a.gone == [(b.key, GoneReason.DISCONNECTED)]


async def test_discovery_for_a_stranger_is_answered(tmp_path: Path) -> None:
    stranger = make_private(7).public
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        a.send(stranger, DISCO)
        await eventually(lambda: a.gone)

        assert a.gone == [(stranger, GoneReason.NOT_HERE)]


async def test_a_cloned_machine_is_told_and_well_when_the_other_leaves(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as one:
        async with joined(bed, 1) as two:
            for count, node in enumerate((one, two, one, two), 1):
                node.send(node.key, b"x")
                await eventually(partial(_has_relayed, bed.server, count))
            await eventually(lambda: one.problem and two.problem)
            assert one.problem == two.problem == PROBLEM
        await eventually(lambda: not one.problem)


async def test_clients_come_back_when_the_server_restarts(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        bed.server.expel(a.key)
        await eventually(lambda: not a.clients.connected(REGION))
        await eventually(lambda: a.clients.connected(REGION))


async def test_a_restart_is_announced(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        await bed.server.close(back_in=30.0)
        await eventually(lambda: not a.clients.connected(REGION))

        assert a.problem == "the relay is restarting"


async def test_a_new_address_of_this_machine_dials_again(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        a.clients.reconnect()
        await eventually(lambda: not a.clients.connected(REGION))
        await eventually(lambda: a.clients.connected(REGION))


async def test_a_region_that_is_taken_away_is_left(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        a.clients.set_regions(())
        await eventually(lambda: bed.server.counters().clients == 0)

        assert not a.clients.send(REGION, a.key, b"x")


async def test_the_same_region_again_keeps_its_connection(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        (before,) = bed.server.clients()
        a.clients.set_regions((bed.region(pin="sha256-raw:" + "1" * 64),))
        a.send(a.key, b"x")
        await eventually(lambda: a.packets)
        (after,) = bed.server.clients()

        assert after.since == before.since


async def test_a_server_that_says_nothing_is_left(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        bed.clock.passed += READ_TIMEOUT + 1
        a.clients.sweep()
        await eventually(lambda: "said nothing" in a.problem)
        await eventually(lambda: a.clients.connected(REGION))


async def test_keep_alives_keep_a_quiet_connection(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 1) as a:
        for _ in range(4):
            bed.clock.passed += READ_TIMEOUT / 2 + 6
            bed.server.tick()
            await eventually(partial(_has_heard, a, since=bed.clock() - 1))
            a.clients.sweep()

        assert a.clients.connected(REGION)
        assert a.problem == ""


# --- clients that misbehave ---------------------------------------------------------


async def test_a_greeting_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, bed.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(UPGRADE)
        assert b"101" in await reader.readline()
        bed.server.tick()
        assert not reader.at_eof()
        bed.clock.passed += DEADLINE
        bed.server.tick()

        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1000)


async def test_strangers_who_only_connect_do_not_keep_others_out(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, AsyncExitStack() as stack, asyncio.timeout(30):
        answers: list[bytes] = []
        for _ in range(GREETINGS_EACH + 1):
            reader, writer = await stack.enter_async_context(bed.raw())
            writer.write(UPGRADE)
            answers.append((await reader.readline()).split()[1])
        assert answers == [b"101"] * GREETINGS_EACH + [b"503"]

        bed.clock.passed += DEADLINE
        bed.server.tick()
        await stack.enter_async_context(joined(bed, 1))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 5,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x02\xff\xff\xff\xff",
        b"\x02\x00\x00\x00\x48" + bytes(72),
        b"\x04\x00\x00\x00\x20" + bytes(32),
    ],
)
async def test_garbage_in_place_of_a_greeting_ends_the_connection(
    tmp_path: Path, garbage: bytes
) -> None:
    async with relaying(tmp_path) as bed, bed.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(UPGRADE + garbage)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1000)

        assert bed.server.counters().clients == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x04\xff\xff\xff\xff",
        b"\x04\x00\x00\x00\x1f" + bytes(31),
        b"\x07\x00\x00\x00\x01\x05",
        b"\x99\x00\x0f\xff\xff" + bytes(400_000),
        write_frame(WatchPeers()),
        write_frame(
            ForwardPacket(
                source=make_private(1).public, destination=make_private(2).public, payload=b""
            )
        ),
    ],
    ids=["length", "no key", "preference", "endless", "watch", "forward"],
)
async def test_a_client_that_sends_garbage_is_closed_and_others_are_not(
    tmp_path: Path, garbage: bytes
) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 2) as b:
        async with bed.greeted(make_private(1)) as (reader, writer):
            writer.write(garbage)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1000)
        b.send(b.key, b"still here")
        await eventually(lambda: b.packets)

        assert bed.server.counters().clients == 1


async def test_a_connection_cut_in_the_middle_of_a_frame_harms_nobody(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 2) as b:
        async with bed.greeted(make_private(1)) as (_, writer):
            writer.write(b"\x04\x00\x00\x05\x00" + b.key.raw + b"half")
            await writer.drain()
        await eventually(lambda: bed.server.counters().clients == 1)

        assert b.packets == []


async def test_a_frame_sent_octet_by_octet_arrives(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 2) as b:
        async with bed.greeted(make_private(1)) as (_, writer):
            for octet in b"\x04\x00\x00\x00\x22" + b.key.raw + b"ok":
                writer.write(bytes((octet,)))
                await asyncio.sleep(0)
            await eventually(lambda: b.packets)

        assert b.packets == [(make_private(1).public, b"ok")]


async def test_packets_sent_with_the_greeting_are_not_lost(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 2) as b:
        async with bed.greeted(make_private(1)) as (_, writer):
            writer.write(write_frame(NotePreferred(preferred=True)) * 3)
            writer.write(b"\x04\x00\x00\x00\x22" + b.key.raw + b"ok")
            await eventually(lambda: b.packets)

        assert bed.server.counters().dropped[DropReason.UNKNOWN_DESTINATION] == 0


def _has_relayed(server: DerpServer, packets: int) -> bool:
    return server.counters().received_packets >= packets


def _has_heard(node: Node, *, since: float) -> bool:
    return node.clients.states()[REGION].heard >= since
