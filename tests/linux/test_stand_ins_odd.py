"""Stand-ins where packets come in batches, and on a device without Ethernet."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from tests.linux.inside import run_inside
from tests.linux.test_stand_ins import (
    DATA,
    PORT,
    RELAY,
    VNI,
    WAIT,
    Bed,
    Here,
    bed,
    open_place,
    receive,
    send,
    socket_in,
    talk,
    version,
)

from gatepost.linux.netlink import Netlink
from gatepost.model.netmap import Endpoint
from gatepost.testing.netns import Machine
from gatepost.wire.geneve import WIREGUARD, Geneve, read_geneve, write_geneve

__all__ = ["bed", "talk", "version"]  # fixtures

pytestmark = pytest.mark.root

UDP_SEGMENT = 103  # include/uapi/linux/udp.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
FAR = Endpoint(ip_address("10.8.0.2"), PORT)


def send_batch(from_: socket.socket, to: Endpoint, *parts: bytes) -> None:
    """Give the kernel several packets of one size as one."""
    size = struct.pack("=H", len(parts[0]))
    control = [(socket.SOL_UDP, UDP_SEGMENT, size)]
    from_.sendmsg([b"".join(parts)], control, 0, (str(to.address), to.port))


def test_a_batch_from_a_relay_reaches_the_socket_in_parts_with_their_headers(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    open_place(bed, version)
    box = Endpoint(ip_address("10.9.0.2" if version == 4 else "fd00:9::2"), 41641)
    parts = [write_geneve(Geneve(VNI, WIREGUARD), bytes([4, 0, 0, 0, n]) * 40) for n in range(3)]
    send_batch(talk[1], box, *parts)

    assert [receive(talk[0]) for _ in parts] == [(part, RELAY[version]) for part in parts]


def test_where_wireguard_sends_batches_there_are_no_stand_ins(
    bed: Bed, version: int, talk: tuple[socket.socket, socket.socket]
) -> None:
    async def work(netlink: Netlink) -> None:
        here = Here(netlink)
        stand_in = await here.open(RELAY[version])
        assert await here.stand_ins.check() == frozenset()
        send_batch(talk[0], stand_in, DATA[:200], DATA[:200])

        assert await here.stand_ins.check() == {stand_in}
        assert "batches" in here.stand_ins.trouble
        assert await here.stand_ins.open(RELAY[version], VNI) is None

    run_inside(bed.box, work)


@pytest.fixture
def tunnel(machine: Machine) -> Iterator[int]:
    """Return the far side of `modem0`, a device without Ethernet that leads everywhere."""

    async def work(_: Netlink) -> int:
        opened = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH22x", b"modem0", IFF_TUN | IFF_NO_PI))
        return opened

    descriptor = run_inside(machine, work)
    machine.ip(
        "link set modem0 up", "address add 10.5.0.2/32 dev modem0", "route add default dev modem0"
    )
    yield descriptor
    os.close(descriptor)


def read_udp(descriptor: int) -> bytes:
    """Return the next IPv4 packet of UDP that the machine sent."""
    while select.select([descriptor], [], [], WAIT)[0]:
        packet = os.read(descriptor, 4096)
        if packet[0] == 0x45 and packet[9] == socket.IPPROTO_UDP:
            return packet
    raise AssertionError("nothing came")


def test_a_modem_s_packets_get_and_lose_the_header_too(machine: Machine, tunnel: int) -> None:
    async def work(netlink: Netlink) -> Endpoint:
        return await Here(netlink).open(FAR)

    ours = socket_in(machine, "10.5.0.2", 41641)
    stand_in = run_inside(machine, work)
    send(ours, stand_in, DATA)
    sent = read_udp(tunnel)
    assert read_geneve(sent[28:]) == (Geneve(VNI, WIREGUARD), DATA)
    assert sent[16:20] == FAR.address.packed
    content = write_geneve(Geneve(VNI, WIREGUARD), DATA[::-1].replace(DATA[-1:], b"\4", 1))
    udp = struct.pack("!HHHH", PORT, 41641, 8 + len(content), 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(content), 0, 0, 64, 17, 0)
    ends = FAR.address.packed + ip_address("10.5.0.2").packed
    total = sum(struct.unpack("!10H", head + ends))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    os.write(tunnel, head[:10] + struct.pack("!H", checksum) + ends + udp + content)

    assert receive(ours) == (content[8:], stand_in)
    ours.close()
