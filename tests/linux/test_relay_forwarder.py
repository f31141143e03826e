"""Packets of peer relays, forwarded by the kernel's program and by user space."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest
from tests.linux.inside import run_inside
from tests.linux.relay_bed import (
    BOX,
    PORT,
    Bed,
    Caller,
    Running,
    make_bed,
    make_caller,
    relay,
    wireguard,
)

from gatepost.linux.netlink import Netlink
from gatepost.net.relay_ports import Count
from gatepost.sessions.relay_server import Flow

pytestmark = pytest.mark.root
both_ways = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "user-space"])
versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def machines() -> Iterator[Bed]:
    with make_bed() as made:
        yield made


@pytest.fixture
def bed(machines: Bed) -> Iterator[Bed]:
    yield machines
    machines.close_sockets()


async def counted(running: Running, vni: int) -> dict[Flow, Count]:
    found = await running.forwarder.counts()
    return {flow: count for flow, count in found.items() if flow.vni == vni}


@both_ways
@versions
def test_packets_reach_the_other_end_unchanged_and_from_the_relays_port(
    bed: Bed, version: int, *, kernel: bool
) -> None:
    a, b = make_caller(bed, 0, version), make_caller(bed, 1, version)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            vni = await running.join(a, b, (version, version))
            for size in (0, 1, 7, 100, 1300):
                packet = wireguard(vni, bytes(i % 251 for i in range(size)))
                a.send(packet, (BOX[version][0], PORT))
                got, sender = await asyncio.get_running_loop().sock_recvfrom(b.socket, 65535)

                assert got == packet
                assert sender[:2] == (BOX[version][1], PORT)

    run_inside(bed.box, work)


@versions
def test_the_kernel_forwards_by_itself_and_counts(bed: Bed, version: int) -> None:
    a, b = make_caller(bed, 0, version), make_caller(bed, 1, version)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b, (version, version))
            before = await counted(running, vni)
            packet = wireguard(vni, bytes(100))
            for _ in range(50):
                a.send(packet, (BOX[version][0], PORT))
                assert await b.receive() == packet
            after = await counted(running, vni)
            flow = next(f for f in after if f.source == a.address)

            assert after[flow].packets - before[flow].packets == 50
            assert after[flow].octets - before[flow].octets == 50 * len(packet)

    run_inside(bed.box, work)


@both_ways
def test_one_end_may_be_ipv4_and_the_other_ipv6(bed: Bed, *, kernel: bool) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 6)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            vni = await running.join(a, b, (4, 6))
            packet = wireguard(vni, b"across")
            b.send(packet, (BOX[6][1], PORT))

            assert await a.receive() == packet

    run_inside(bed.box, work)


@both_ways
def test_strangers_and_wrong_places_are_not_forwarded(bed: Bed, *, kernel: bool) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)
    stranger = make_caller(bed, 0, 4)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            vni = await running.join(a, b)
            stranger.send(wireguard(vni, b"forged"), (BOX[4][0], PORT))
            a.send(wireguard(vni ^ 1, b"guessed"), (BOX[4][0], PORT))
            a.send(b"\0\0\x7a\x12", (BOX[4][0], PORT))

            assert await b.hears_nothing()

    run_inside(bed.box, work)


@both_ways
def test_a_client_that_binds_from_another_port_is_followed(bed: Bed, *, kernel: bool) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)
    moved = Caller(0, make_caller(bed, 0, 4).socket, a.client)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            vni = await running.join(a, b)
            assert await running.join(moved, b) == vni
            packet = wireguard(vni, b"to the new port")
            b.send(packet, (BOX[4][1], PORT))

            assert await moved.receive() == packet
            assert await a.hears_nothing()

    run_inside(bed.box, work)


@both_ways
def test_a_batch_that_mixes_places_is_taken_apart(bed: Bed, *, kernel: bool) -> None:
    a, b, c = make_caller(bed, 0, 4), make_caller(bed, 1, 4), make_caller(bed, 1, 4)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            to_b, to_c = await running.join(a, b), await running.join(a, c)
            packets = [wireguard((to_b, to_c)[i % 2], bytes([i]) * 500) for i in range(20)]
            batch(a.socket, packets, (BOX[4][0], PORT))

            assert [await b.receive() for _ in range(10)] == packets[0::2]
            assert [await c.receive() for _ in range(10)] == packets[1::2]

    run_inside(bed.box, work)


@both_ways
@versions
def test_a_batch_of_one_place_arrives_whole(bed: Bed, version: int, *, kernel: bool) -> None:
    a, b = make_caller(bed, 0, version), make_caller(bed, 1, version)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=kernel) as running:
            vni = await running.join(a, b, (version, version))
            before = await counted(running, vni)
            packets = [wireguard(vni, bytes([i]) * (1200 if i < 29 else 300)) for i in range(30)]
            batch(a.socket, packets, (BOX[version][0], PORT))

            assert [await b.receive() for _ in range(30)] == packets
            if kernel:
                flow = next(f for f in before if f.source == a.address)
                assert (await counted(running, vni))[flow].packets - before[flow].packets == 30

    run_inside(bed.box, work)


def batch(sender: socket.socket, packets: list[bytes], to: tuple[str, int]) -> None:
    """Send packets of one size (the last may be shorter) as one, as a fast sender does."""
    size = struct.pack("=H", len(packets[0]))
    sender.sendmsg([b"".join(packets)], [(17, 103, size)], 0, to)


def test_a_packet_that_the_way_out_does_not_take_goes_through_user_space(bed: Bed) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)
    bed.box.ip("link set wan1 mtu 1280")

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b)
            packet = wireguard(vni, bytes(1400))
            a.send(packet, (BOX[4][0], PORT))

            assert await b.receive() == packet  # in fragments

    try:
        run_inside(bed.box, work)
    finally:
        bed.box.ip("link set wan1 mtu 1500")


def test_packets_without_a_checksum_arrive_without_one(bed: Bed) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)
    a.socket.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b)
            packet = wireguard(vni, b"unchecked")
            a.send(packet, (BOX[4][0], PORT))

            assert await b.receive() == packet

    run_inside(bed.box, work)


def test_flows_work_on_while_the_daemon_is_away_and_are_adopted(bed: Bed) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b)
        packet = wireguard(vni, b"nobody is at home")
        a.send(packet, (BOX[4][0], PORT))
        assert await b.receive() == packet

        async with relay(netlink, kernel=True) as running:
            b.send(packet, (BOX[4][1], PORT))
            assert await a.receive() == packet
            assert {f.vni for f in await running.forwarder.counts()} >= {vni}

    run_inside(bed.box, work)


def test_a_table_that_was_lost_is_filled_again(bed: Bed) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b)
            for device in ("wan0", "wan1"):
                bed.box.run("tc", "qdisc", "delete", "dev", device, "clsact")
            packet = wireguard(vni, b"by hand")
            running.service.poke()
            a.send(packet, (BOX[4][0], PORT))
            assert await b.receive() == packet  # user space

    run_inside(bed.box, work)
