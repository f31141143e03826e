"""Streams: who is sent what, when, and what a newer or broken stream means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.coordination.makers import (
    ALICE,
    MESH,
    NOW,
    make_node,
    make_report,
    node_key,
    running_ledger,
)

from gatepost.coordination.delta import Messages
from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.presence import GRACE, START_GRACE, Presences
from gatepost.coordination.records import DropNode, Edit, PutNode, PutUser
from gatepost.coordination.stream import BATCH, KEEP_ALIVE, KEEP_ALIVE_JITTER, Streams
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import MapResponse

EPHEMERAL = 120.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Bed:
    """Streams on a real ledger with three nodes; time passes when a test says so."""

    ledger: Ledger
    presences: Presences
    streams: Streams
    clock: Clock

    def open(self, number: int) -> AsyncGenerator[bytes]:
        return self.streams.open(self.ledger.world.records.nodes[number], "")

    async def put(self, *edits: Edit) -> None:
        await self.ledger.change(lambda _: Decision(None, edits))

    async def endpoints(self, number: int, *endpoints: str) -> None:
        report = replace(self.ledger.world.nodes[number].report, endpoints=endpoints)
        await self.ledger.report(number, report)

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.streams.tick(self.clock.now)
        await self.presences.tick(self.clock.now)

    def online(self, number: int) -> bool | None:
        return self.ledger.world.nodes[number].presence.online


@asynccontextmanager
async def running_bed(path: Path) -> AsyncGenerator[Bed]:
    async with running_ledger(path / "db.sqlite") as ledger:
        nodes = [PutNode(make_node(i), make_report(i)) for i in (1, 2)]
        ephemeral = PutNode(make_node(3, ephemeral=True), make_report(3))
        await ledger.change(lambda _: Decision(None, (PutUser(ALICE), *nodes, ephemeral)))
        clock = Clock()
        presences = Presences(ledger, clock, EPHEMERAL)
        messages = Messages(MESH, lambda _world, _node: ())
        streams = Streams(ledger, messages, presences, clock, lambda: 0.5)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(streams.run())
            try:
                yield Bed(ledger, presences, streams, clock)
            finally:
                running.cancel()


async def take(stream: AsyncGenerator[bytes]) -> MapResponse:
    frame = await asyncio.wait_for(anext(stream), 5)
    return read_json(frame[4:], MapResponse)


async def hears_nothing(stream: AsyncGenerator[bytes], seconds: float = BATCH * 4) -> bool:
    """Say whether nothing comes; the stream cannot be used afterwards."""
    try:
        await asyncio.wait_for(anext(stream), seconds)
    except (TimeoutError, StopAsyncIteration):
        return True
    return False


async def never_hears_of(stream: AsyncGenerator[bytes], node_id: int) -> bool:
    """Say whether nothing that comes now is about a node."""
    about: set[int] = set()
    with suppress(TimeoutError):
        while True:
            frame = await asyncio.wait_for(anext(stream), BATCH * 4)
            told = read_json(frame[4:], MapResponse)
            about |= {p.node_id for p in told.peers_changed_patch or ()}
            about |= {p.id for p in told.peers_changed or ()}
    return node_id not in about


async def test_others_get_their_turn_between_first_maps(tmp_path: Path) -> None:
    turns, taken = 0, list[int]()

    async def count() -> None:
        nonlocal turns
        while len(taken) < 3:  # turns of the loop are what is counted
            turns += 1
            await asyncio.sleep(0)

    async def first(stream: AsyncGenerator[bytes]) -> None:
        await take(stream)
        taken.append(turns)

    async with running_bed(tmp_path) as bed, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(bed.open(i))) for i in (1, 2, 3)]
        async with asyncio.TaskGroup() as group:
            for work in (count(), *map(first, streams)):
                group.create_task(work)

    assert len(set(taken)) == 3


async def test_the_first_frame_is_the_whole_map(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        first = await take(stream)

    assert first.node is not None
    assert [p.id for p in first.peers or ()] == [2, 3]


async def test_a_change_reaches_the_others_and_not_its_maker(tmp_path: Path) -> None:
    async with (
        running_bed(tmp_path) as bed,
        aclosing(bed.open(1)) as one,
        aclosing(bed.open(2)) as two,
    ):
        await take(one)
        await take(two)
        assert [p.node_id for p in (await take(one)).peers_changed_patch or ()] == [2]
        await bed.endpoints(2, "198.51.100.2:2")

        told = await take(one)

        assert [p.endpoints for p in told.peers_changed_patch or ()] == [("198.51.100.2:2",)]
        assert await never_hears_of(two, 2)


async def test_changes_of_a_moment_come_in_one_message(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        await asyncio.gather(
            bed.endpoints(2, "198.51.100.2:2"),
            bed.endpoints(3, "198.51.100.3:3"),
            bed.put(PutNode(make_node(4))),
        )

        told = await take(stream)

    assert [p.node_id for p in told.peers_changed_patch or ()] == [2, 3]
    assert [p.id for p in told.peers_changed or ()] == [4]


async def test_a_change_and_its_opposite_are_nothing(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        before = bed.ledger.world.nodes[2].report.endpoints
        async with asyncio.TaskGroup() as group:  # so that no slow disk comes between the two
            group.create_task(bed.endpoints(2, "198.51.100.2:2"))
            group.create_task(bed.endpoints(2, *before))

        assert await hears_nothing(stream)


async def test_a_slow_reader_skips_what_is_past(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        for port in range(1, 6):
            await bed.endpoints(2, f"198.51.100.2:{port}")
            await asyncio.sleep(BATCH)

        told = await take(stream)

    assert [p.endpoints for p in told.peers_changed_patch or ()] == [("198.51.100.2:5",)]


async def test_silence_is_broken_in_time_and_only_then(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        waiting = asyncio.gather(take(stream))
        await asyncio.sleep(BATCH)
        await bed.pass_time(KEEP_ALIVE - 1)
        await asyncio.sleep(BATCH)
        assert not waiting.done()

        await bed.pass_time(1 + KEEP_ALIVE_JITTER / 2)

        (told,) = await waiting
    assert told.keep_alive


async def test_a_message_puts_the_keep_alive_off(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        await bed.pass_time(KEEP_ALIVE / 2)
        await bed.endpoints(2, "198.51.100.2:2")
        assert not (await take(stream)).keep_alive
        waiting = asyncio.gather(take(stream))
        await asyncio.sleep(BATCH)
        await bed.pass_time(KEEP_ALIVE / 2 + KEEP_ALIVE_JITTER - 1)
        await asyncio.sleep(BATCH)

        assert not waiting.done()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


async def test_a_newer_stream_ends_the_older_and_the_node_stays_online(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        older, newer = bed.open(1), bed.open(1)
        await take(older)
        await take(newer)

        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(older), 5)
        await bed.pass_time(GRACE * 2)

        assert bed.online(1) is True
        assert bed.streams.connected == 1
        await newer.aclose()


async def test_a_node_is_offline_some_time_after_its_stream_broke(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        async with aclosing(bed.open(1)) as stream:
            await take(stream)
        await bed.pass_time(GRACE - 1)
        assert bed.online(1) is True

        await bed.pass_time(1)

        assert bed.online(1) is False
        assert bed.ledger.world.nodes[1].report.last_seen == NOW


async def test_a_node_that_comes_back_in_time_was_never_away(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(2)) as witness:
        async with aclosing(bed.open(1)) as stream:
            await take(stream)
        await take(witness)
        await bed.pass_time(GRACE / 2)
        async with aclosing(bed.open(1)) as stream:
            await take(stream)
            await bed.pass_time(GRACE)

            assert bed.online(1) is True


async def test_nodes_not_back_after_a_start_are_offline(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        assert bed.online(2) is None

        await bed.pass_time(START_GRACE)

        assert (bed.online(1), bed.online(2)) == (True, False)


async def test_an_ephemeral_node_is_deleted_when_it_stays_away(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        async with aclosing(bed.open(3)) as stream:
            await take(stream)
            await bed.pass_time(EPHEMERAL * 2)
            assert 3 in bed.ledger.world.nodes
        await bed.pass_time(EPHEMERAL - 1)
        assert 3 in bed.ledger.world.nodes

        await bed.pass_time(1)

        assert list(bed.ledger.world.nodes) == [1, 2]


async def test_an_ephemeral_node_that_never_came_is_deleted(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        await bed.pass_time(EPHEMERAL)

        assert list(bed.ledger.world.nodes) == [1, 2]


async def test_a_deleted_node_is_sent_away_and_its_peers_forget_it(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(2)) as witness:
        await take(witness)
        stream = bed.open(1)
        await take(stream)
        await take(witness)
        await bed.put(DropNode(1))

        while (told := await take(stream)).node is None:
            pass  # what happened before

        assert told.node.expired
        assert told.node.key == node_key(1)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(stream), 5)
        assert (await take(witness)).peers_removed == (1,)


async def test_a_renewed_key_leaves_the_old_stream_running(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as old:
        await take(old)
        await bed.put(PutNode(make_node(1, key=node_key(50))))
        await bed.endpoints(2, "198.51.100.2:2")

        told = await take(old)

        assert told.node is None
        assert told.peers_changed_patch is not None
        async with aclosing(bed.open(1)) as new:
            await take(new)
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(anext(old), 5)


async def test_a_node_that_is_gone_before_its_stream_begins_gets_none(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed:
        stream = bed.open(1)
        await bed.put(DropNode(1))

        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(stream), 5)


async def test_a_key_that_ends_while_connected_sends_the_node_to_its_login(tmp_path: Path) -> None:
    async with running_bed(tmp_path) as bed, aclosing(bed.open(1)) as stream:
        await take(stream)
        await bed.put(PutNode(make_node(1, key_expiry=NOW)))

        told = await take(stream)

    assert told.node is not None
    assert told.node.expired
    assert told.peers_removed == (2, 3)
