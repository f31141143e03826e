"""The socket of a relay: what it forwards, and what it does with everything else."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from tests.net.waiting import eventually

from gatepost.model.netmap import Endpoint
from gatepost.net.relay_socket import IDLE_READS, WINDOW, RelaySocket, RelayTable
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.relay_server import Flow, Onward
from gatepost.wire.geneve import DISCO, WIREGUARD, Geneve, write_geneve
from gatepost.wire.stun import write_request

HERE = ip_address("127.0.0.1")


@dataclass
class Bed:
    """A relay's socket on loopback, with everything that it does not forward itself."""

    controls: list[tuple[bytes, Endpoint, Local]] = field(
        default_factory=list[tuple[bytes, Endpoint, Local]]
    )
    stun: list[bytes] = field(default_factory=list[bytes])
    clients: list[socket.socket] = field(default_factory=list[socket.socket])

    def __post_init__(self) -> None:
        self.table = RelayTable()
        self.relay = RelaySocket(
            HERE,
            0,
            self.table,
            mark=0,
            on_control=lambda packet, source, here: self.controls.append((packet, source, here)),
            on_stun=self.stun.append,
        )

    def client(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        made.connect(("127.0.0.1", self.relay.port))
        self.clients.append(made)
        return made

    def join(self, one: socket.socket, other: socket.socket, vni: int) -> Flow:
        flow = Flow(endpoint_of(one), HERE, vni)
        self.table.put(flow, Onward(endpoint_of(other), HERE))
        return flow

    def close(self) -> None:
        self.relay.close()
        for each in self.clients:
            each.close()


def endpoint_of(client: socket.socket) -> Endpoint:
    name: tuple[str, int] = client.getsockname()
    return Endpoint(ip_address(name[0]), name[1])


async def receive(client: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(client, 65535)


def packet(vni: int, text: bytes = b"", kind: int = WIREGUARD) -> bytes:
    return write_geneve(Geneve(vni, kind), text)


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    made = Bed()
    yield made
    made.close()


async def test_a_packet_goes_to_the_other_end_and_is_counted(bed: Bed) -> None:
    a, b = bed.client(), bed.client()
    bed.join(a, b, 7)
    a.send(packet(7, b"hello"))

    assert await receive(b) == packet(7, b"hello")
    (target,) = bed.table.targets.values()
    assert (target.packets, target.octets) == (1, 13)


async def test_a_flow_that_was_dropped_is_forwarded_no_more(bed: Bed) -> None:
    a, b = bed.client(), bed.client()
    bed.table.drop(bed.join(a, b, 7))
    a.send(packet(7))
    await eventually(lambda: bed.relay.unknown == 1)

    with pytest.raises(BlockingIOError):
        b.recv(100)


@pytest.mark.parametrize("segments", [(100, 100, 100), (100, 100, 30), (9, 9), (100, 100, 4)])
async def test_a_batch_arrives_packet_by_packet_whatever_its_end(
    bed: Bed, segments: tuple[int, ...]
) -> None:
    a, b = bed.client(), bed.client()
    bed.relay.take_batches(wanted=True)
    bed.join(a, b, 7)
    packets = [packet(7, bytes([i]) * max(s - 8, 0))[:s] for i, s in enumerate(segments)]
    a.sendmsg([b"".join(packets)], [(17, 103, struct.pack("=H", segments[0]))])

    for each in packets:
        if len(each) >= 8:
            assert await receive(b) == each


async def test_handshakes_and_stun_go_to_whom_they_concern(bed: Bed) -> None:
    a = bed.client()
    handshake = write_geneve(Geneve(9, DISCO, is_control=True), b"sealed")
    a.send(handshake)
    a.send(write_request(bytes(12)))
    await eventually(lambda: bed.controls and bed.stun)
    ((heard, source, here),) = bed.controls

    assert (heard, source, here.address) == (handshake, endpoint_of(a), HERE)
    assert bed.stun == [write_request(bytes(12))]


@pytest.mark.parametrize("junk", [b"", b"\0", packet(8), bytes(200), b"\x04\0\0\0" + bytes(60)])
async def test_what_belongs_to_nobody_is_dropped(bed: Bed, junk: bytes) -> None:
    a, b = bed.client(), bed.client()
    bed.join(a, b, 7)
    a.send(junk)
    a.send(packet(7, b"next"))

    assert await receive(b) == packet(7, b"next")
    assert bed.controls == []


@pytest.mark.parametrize("junk", [packet(8), b""], ids=["nobody's", "empty"])
async def test_a_flood_of_strangers_packets_is_read_slowly(bed: Bed, junk: bytes) -> None:
    a, b = bed.client(), bed.client()
    bed.join(a, b, 7)
    began = asyncio.get_running_loop().time()
    for _ in range(3 * IDLE_READS):
        a.send(junk)
    await eventually(lambda: bed.relay.unknown >= 3 * IDLE_READS)
    lasted = asyncio.get_running_loop().time() - began
    a.send(packet(7, b"still here"))

    assert lasted >= WINDOW  # two windows at least have passed
    assert await receive(b) == packet(7, b"still here")
