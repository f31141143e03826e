"""Several DERP servers of one region over TLS: a client of one reaches a client of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.net.derp_bed import REGION, Bed, joined, relaying
from tests.net.waiting import eventually

from gatepost.model.keys import NodePublic
from gatepost.net.derp_mesh import MeshLinks
from gatepost.sessions.derp_counters import DropReason
from gatepost.testing.makers import make_private
from gatepost.wire.derp import DISCO_MAGIC, FrameReader, write_frame
from gatepost.wire.derp_frames import GoneReason, PeerPresent, WatchPeers
from gatepost.wire.derp_present import PresentFlag, read_details

KEY = "5e" * 32


@contextlib.asynccontextmanager
async def linked(
    bed: Bed, number: int, others: Sequence[Bed], key: str = KEY
) -> AsyncGenerator[MeshLinks]:
    """Let server `number` dial the others."""
    nodes = [other.region().nodes[0] for other in others]
    links = MeshLinks(nodes, bed.server.relay, make_private(number), key)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(links.run())
        try:
            yield links
        finally:
            running.cancel()


@contextlib.asynccontextmanager
async def pair(folder: Path) -> AsyncGenerator[tuple[Bed, Bed]]:
    """Run two servers that know each other."""
    async with (
        relaying(folder / "a", number=99, mesh_key=KEY) as a,
        relaying(folder / "b", number=98, mesh_key=KEY) as b,
        linked(a, 99, [b]) as from_a,
        linked(b, 98, [a]) as from_b,
    ):
        await eventually(lambda: all(s.connected for s in (*from_a.states(), *from_b.states())))
        yield a, b


async def test_packets_cross_between_two_servers_both_ways(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b), joined(a, 1) as one, joined(b, 2) as two:
        await eventually(lambda: a.server.counters().distant >= 2)
        await eventually(lambda: b.server.counters().distant >= 2)
        one.send(two.key, b"over there")
        two.send(one.key, b"and back")
        await eventually(lambda: one.packets and two.packets)

        assert two.packets == [(one.key, b"over there")]
        assert one.packets == [(two.key, b"and back")]
        assert a.server.counters().forwarded_packets == 1


async def test_a_client_that_leaves_is_gone_for_those_it_sent_to_on_another_server(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path) as (a, b), joined(b, 2) as two:
        async with joined(a, 1) as one:
            await eventually(lambda: a.server.counters().distant >= 2)
            await eventually(lambda: b.server.counters().distant >= 2)
            one.send(two.key, b"x")
            await eventually(lambda: two.packets)
        await eventually(lambda: two.gone)

        assert two.gone == [(one.key, GoneReason.DISCONNECTED)]


async def test_a_server_that_dies_takes_its_clients_along_and_is_dialled_again(
    tmp_path: Path,
) -> None:
    async with relaying(tmp_path / "a", number=99, mesh_key=KEY) as a, joined(a, 1) as one:
        async with (
            relaying(tmp_path / "b", number=98, mesh_key=KEY) as b,
            linked(b, 98, [a]),
            joined(b, 2) as two,
            linked(a, 99, [b]) as links,
        ):
            await eventually(lambda: a.server.counters().distant >= 1)
            await eventually(lambda: b.server.counters().distant >= 1)
            two.send(one.key, b"x")
            await eventually(lambda: one.packets)
            for client in b.server.relay.clients():
                if client.mesh:
                    b.server.expel(client.key)
            await eventually(lambda: one.gone)

            assert one.gone == [(two.key, GoneReason.DISCONNECTED)]

            await eventually(lambda: links.states()[0].connected, within=10)
            await eventually(lambda: links.states()[0].clients >= 1)
        await eventually(lambda: a.server.counters().distant == 0)


async def test_a_wrong_mesh_key_is_refused_and_both_sides_say_so(tmp_path: Path) -> None:
    async with (
        relaying(tmp_path / "a", number=99, mesh_key=KEY) as a,
        relaying(tmp_path / "b", number=98, mesh_key="ab" * 32) as b,
        linked(a, 99, [b]) as links,
    ):
        await eventually(lambda: links.states()[0].problem)

        assert "is the mesh key the same" in links.states()[0].problem
        assert b.server.refused["wrong mesh key"] >= 1
        assert b.server.counters().clients == 0


async def test_a_server_that_dials_itself_notices(tmp_path: Path) -> None:
    async with (
        relaying(tmp_path, number=99, mesh_key=KEY) as bed,
        linked(bed, 99, [bed]) as links,
    ):
        await eventually(lambda: "our own address" in links.states()[0].problem)

        assert bed.server.counters().watchers == 0


async def test_discovery_for_nobody_in_the_region_is_answered(tmp_path: Path) -> None:
    stranger = make_private(77).public
    async with pair(tmp_path) as (a, _), joined(a, 1) as one:
        one.send(stranger, DISCO_MAGIC + bytes(80))
        await eventually(lambda: one.gone)

        assert one.gone == [(stranger, GoneReason.NOT_HERE)]
        assert a.server.counters().dropped[DropReason.UNKNOWN_DESTINATION] == 1


async def test_a_client_of_a_dead_server_goes_on_through_another(tmp_path: Path) -> None:
    async with (
        relaying(tmp_path / "a", number=99, mesh_key=KEY) as a,
        joined(a, 1) as one,
        contextlib.AsyncExitStack() as stack,
    ):
        b = await stack.enter_async_context(relaying(tmp_path / "b", number=98, mesh_key=KEY))
        alive = replace(a.region().nodes[0], name="900b")
        region = replace(b.region(), nodes=(b.region().nodes[0], alive))
        async with linked(a, 99, [b]), joined(a, 2, region=region) as two:
            await eventually(lambda: a.server.counters().distant >= 2)
            one.send(two.key, b"through both")
            await eventually(lambda: two.packets)
            await stack.aclose()
            await eventually(lambda: two.key in {c.key for c in a.server.clients()})
            one.send(two.key, b"through one")
            await eventually(lambda: len(two.packets) == 2)

            assert two.clients.states()[REGION].node == "900b"
            assert a.server.counters().distant == 0


async def test_who_is_not_on_its_first_server_is_known_as_that(tmp_path: Path) -> None:
    async with relaying(tmp_path, number=99, mesh_key=KEY) as bed:
        alive = replace(bed.region().nodes[0], name="900b")
        dead = replace(alive, name="900a", port=1)
        region = replace(bed.region(), nodes=(dead, alive))
        async with (
            joined(bed, 1, region=region) as one,
            bed.greeted(make_private(98), mesh_key=KEY) as (reader, writer),
        ):
            await eventually(lambda: one.clients.connected(REGION))
            writer.write(write_frame(WatchPeers()))
            frames = FrameReader()
            seen: dict[NodePublic, PresentFlag] = {}
            async with asyncio.timeout(5):
                while one.key not in seen:
                    for frame in frames.receive(await reader.read(4096)):
                        if isinstance(frame, PeerPresent):
                            seen[frame.peer] = read_details(frame.details)[2]

    assert seen[one.key] == PresentFlag.NOT_IDEAL
