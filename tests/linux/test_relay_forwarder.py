"""Packets of peer relays, forwarded by the kernel's program and by user space."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.bench.packet_pump import Pump
from tests.linux.inside import apply, run_inside
from tests.linux.relay_bed import (
    BOX,
    PORT,
    Bed,
    Caller,
    Running,
    make_bed,
    make_caller,
    open_tun,
    programs,
    relay,
    udp_packet,
    wireguard,
)
from tests.net.waiting import eventually

from gatepost.linux.netlink import Netlink
from gatepost.linux.relay_forwarder import KernelForwarder
from gatepost.linux.tc import TrafficPrograms, open_maps
from gatepost.model.netmap import Endpoint
from gatepost.net.relay_ports import Count
from gatepost.sessions.relay_server import Flow, Onward
from gatepost.testing.netns import connect

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


@versions
def test_both_ends_may_be_behind_the_same_device(bed: Bed, version: int) -> None:
    a, b = make_caller(bed, 0, version), make_caller(bed, 0, version)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b, (version, version))
            before = await counted(running, vni)
            packet = wireguard(vni, b"there and back")
            a.send(packet, (BOX[version][0], PORT))
            assert await b.receive() == packet
            after = await counted(running, vni)
            flow = next(f for f in after if f.source == a.address)

            assert after[flow].packets - before[flow].packets == 1

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


def test_a_flow_follows_the_route_to_its_client(bed: Bed) -> None:
    """The way out is in the kernel's table, so it must change when the route does."""
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)
    connect(bed.box, "spare0", bed.b, "spare1")

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            vni = await running.join(a, b)
            bed.box.ip("route add 10.2.0.2/32 dev spare0 src 10.2.0.1")
            bed.b.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
            running.service.poke()
            await eventually(lambda: not running.service.is_behind)
            bed.box.ip("link set wan1 down")
            packet = wireguard(vni, b"by the other cable")
            a.send(packet, (BOX[4][0], PORT))

            assert await b.receive() == packet

    try:
        run_inside(bed.box, work)
    finally:
        bed.box.ip(
            "link delete spare0",
            "link set wan1 up",
            f"address replace {BOX[6][1]}/64 dev wan1 nodad",
        )


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


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_forwarder_that_was_closed_knows_no_flows_and_keeps_no_files(bed: Bed) -> None:
    a, b = make_caller(bed, 0, 4), make_caller(bed, 1, 4)

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            await running.join(a, b)
        before = open_files()
        forwarder = KernelForwarder(netlink)
        await forwarder.look()
        assert await forwarder.counts()
        await forwarder.close()

        assert await forwarder.counts() == {}
        assert open_files() == before

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


def test_a_batch_that_the_kernel_glued_together_misdelivers_nothing(bed: Bed) -> None:
    """GRO glues packets of one sender, and looks at addresses and ports only."""
    a, b, c = make_caller(bed, 0, 4), make_caller(bed, 1, 4), make_caller(bed, 1, 4)
    bed.box.run("ethtool", "-K", "wan0", "gro", "on", "rx-udp-gro-forwarding", "on")
    bed.box.run("sh", "-c", "echo 1 >/sys/class/net/wan0/threaded")

    async def work(netlink: Netlink) -> None:
        async with relay(netlink, kernel=True) as running:
            places = await running.join(a, b), await running.join(a, c)
            running.service.prefer_kernel(works=False)  # a socket that takes batches gets them
            left = await mixed(netlink)
            a.socket.connect((BOX[4][0], PORT))
            packets = [wireguard(places[i % 2], bytes(400)) for i in range(64)]
            await asyncio.to_thread(Pump(a.socket, packets).run, 0.05)
            for place, caller in zip(places, (b, c), strict=True):
                got = {(await caller.receive())[4:7] for _ in range(50)}
                assert got == {place.to_bytes(3, "big")}
            assert await mixed(netlink) > left  # else nothing was glued, and this shows nothing

    try:
        run_inside(bed.box, work)
    finally:
        bed.box.run("sh", "-c", "echo 0 >/sys/class/net/wan0/threaded")
        bed.box.run("ethtool", "-K", "wan0", "gro", "off", "rx-udp-gro-forwarding", "off")


async def mixed(netlink: Netlink) -> int:
    """Return how many batches the kernel's program left to user space because they were mixed."""
    maps = await open_maps(netlink, "peer_relay")
    value = maps["left"].get(bytes(4))
    for one in maps.values():
        one.close()
    return int.from_bytes(value or b"", "little")


@versions
def test_a_device_without_ethernet_relays_too(bed: Bed, version: int) -> None:
    """PPP has no Ethernet header; a TUN device stands for it, and a packet comes in by it."""
    b = make_caller(bed, 1, version)

    async def work(netlink: Netlink) -> None:
        with open_tun("ppp0") as device:
            bed.box.ip(
                "link set ppp0 up", "address add 10.8.0.1/24 dev ppp0",
                "address add fd00:8::1/64 dev ppp0 nodad",
            )  # fmt: skip
            here, far = (("10.8.0.1", "10.8.0.9"), ("fd00:8::1", "fd00:8::9"))[version == 6]
            wanted = programs("ppp0", "wan1")
            await apply(TrafficPrograms(netlink, lambda: wanted), *wanted)
            forwarder = KernelForwarder(netlink)
            await forwarder.look()
            flow = Flow(Endpoint(ip_address(far), 9), ip_address(here), 5)
            await forwarder.put({flow: Onward(b.address, ip_address(BOX[version][1]))})
            os.write(device, udp_packet(version, far, here, wireguard(5, b"from afar")))

            assert await b.receive() == wireguard(5, b"from afar")
            await forwarder.drop([flow])
            await forwarder.close()

    run_inside(bed.box, work)
