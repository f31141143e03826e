"""A relay between two clients, each in a machine of its own: real sockets, real kernel.

    a (10.1.0.2, fd00:1::2) --- box (…::1) --- b (10.2.0.2, fd00:2::2)

Everything runs in one event loop inside the box; the clients' sockets were opened in
their machines.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.linux.inside import PATIENCE, apply, run_inside
from tests.net.waiting import eventually
from tests.sessions.relay_client_by_hand import Client

from gatepost.linux.netlink import Netlink
from gatepost.linux.relay_forwarder import OBJECT, KernelForwarder
from gatepost.linux.tc import TrafficPrograms
from gatepost.model.kernel import MapEntry, TrafficProgram
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import MARK, RELAY_PRIORITY
from gatepost.net.relay_ports import Forwarder, NoForwarder
from gatepost.net.relay_server import RelayService
from gatepost.testing.netns import Machine, connect, machines
from gatepost.wire.disco_relay import AllocateRequest, Allocation, BindRelay
from gatepost.wire.geneve import WIREGUARD, Geneve, write_geneve

PORT = 7777
BOX = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}
CLIENTS = {4: ("10.1.0.2", "10.2.0.2"), 6: ("fd00:1::2", "fd00:2::2")}
LONGEST_WAIT = 5.0 * PATIENCE  # seconds for something that has to come
SILENCE = 0.2 * PATIENCE  # seconds after which something that must not come has not


@dataclass(frozen=True)
class Bed:
    """The three machines, and the sockets that tests opened in them."""

    box: Machine
    a: Machine
    b: Machine
    opened: list[socket.socket] = field(default_factory=list[socket.socket])

    def close_sockets(self) -> None:
        for each in self.opened:
            each.close()
        self.opened.clear()


@contextmanager
def make_bed() -> Generator[Bed]:
    with machines() as owner:
        box, a, b = owner.add("box", "a", "b")
        for number, machine in enumerate((a, b)):
            connect(box, f"wan{number}", machine, "eth0")
            box.ip(
                f"address add {BOX[4][number]}/24 dev wan{number}",
                f"address add {BOX[6][number]}/64 dev wan{number} nodad",
            )
            machine.ip(
                f"address add {CLIENTS[4][number]}/24 dev eth0",
                f"address add {CLIENTS[6][number]}/64 dev eth0 nodad",
                f"route add default via {BOX[4][number]}",
                f"route add default via {BOX[6][number]}",
            )
        yield Bed(box, a, b)


def socket_in(machine: Machine, host: str, port: int = 0) -> socket.socket:
    """Open a UDP socket inside a machine; it works wherever it is used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    async def work(_: Netlink) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.bind((host, port))
        return opened

    return run_inside(machine, work)


@dataclass
class Caller:
    """A client with its socket."""

    number: int
    socket: socket.socket
    client: Client = field(default_factory=Client)

    @property
    def address(self) -> Endpoint:
        name: tuple[str, int] = self.socket.getsockname()[:2]
        return Endpoint(ip_address(name[0]), name[1])

    async def receive(self) -> bytes:
        async with asyncio.timeout(LONGEST_WAIT):
            return await asyncio.get_running_loop().sock_recv(self.socket, 65535)

    async def hears_nothing(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE):
                await asyncio.get_running_loop().sock_recv(self.socket, 65535)
        except TimeoutError:
            return True
        return False

    def send(self, packet: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(packet, to)

    async def bind(self, relay: tuple[str, int], place: Allocation, other: Caller) -> None:
        """Do the handshake; the answer may still be on its way when this returns."""
        generation = next(self.client.generations)
        remote = other.client.key.public
        bind = BindRelay(vni=place.vni, generation=generation, remote=remote)
        self.send(self.client.packet(bind, place.relay, place.vni), relay)
        answer = self.client.answer(await self.receive())
        self.send(self.client.packet(answer, place.relay, place.vni), relay)


def make_caller(bed: Bed, number: int, version: int) -> Caller:
    machine = (bed.a, bed.b)[number]
    bed.opened.append(socket_in(machine, CLIENTS[version][number]))
    return Caller(number, bed.opened[-1])


def wireguard(vni: int, text: bytes) -> bytes:
    """Return what a client sends through a place."""
    return write_geneve(Geneve(vni, WIREGUARD), b"\4\0\0\0" + text)


@dataclass
class Running:
    """A relay that runs in the box."""

    service: RelayService
    forwarder: Forwarder

    def allocate(self, one: Caller, other: Caller) -> Allocation:
        pair = (one.client.key.public, other.client.key.public)
        answer = self.service.allocate(pair[0], AllocateRequest(pair, 1))
        assert answer is not None
        return answer.allocation

    async def join(self, one: Caller, other: Caller, versions: tuple[int, int] = (4, 4)) -> int:
        """Give two callers a place, bind both ends, and return the VNI once packets pass."""
        place = self.allocate(one, other)
        for caller, peer, version in ((one, other, versions[0]), (other, one, versions[1])):
            await caller.bind((BOX[version][caller.number], PORT), place, peer)
        for caller, peer, version in ((one, other, versions[0]), (other, one, versions[1])):
            hello = wireguard(place.vni, b"hello")
            await until_bound(self, place)
            caller.send(hello, (BOX[version][caller.number], PORT))
            assert await peer.receive() == hello
        return place.vni


async def until_bound(running: Running, place: Allocation) -> None:
    """Wait for the answers, and for the kernel's table."""

    def is_done() -> bool:
        bound = {p.vni for p in running.service.places() if p.is_bound}
        return place.vni in bound and not running.service.is_behind

    await eventually(is_done)


def programs(*devices: str, port: int = PORT) -> tuple[TrafficProgram, ...]:
    """Return the kernel's part as the plugin asks for it."""
    settings = port.to_bytes(2, "big") + bytes(2) + MARK.to_bytes(4, "little")
    return tuple(
        TrafficProgram(
            device=device,
            direction="in",
            priority=RELAY_PRIORITY,
            object=OBJECT,
            program="ethernet",
            bare="bare",
            entries=frozenset((MapEntry("settings", bytes(4), settings),)),
        )
        for device in devices
    )


@asynccontextmanager
async def relay(netlink: Netlink, *, kernel: bool) -> AsyncGenerator[Running]:
    """Run a relay in the machine whose event loop this is."""
    forwarder: Forwarder = NoForwarder("not in this test")
    if kernel:
        wanted = programs("wan0", "wan1")
        await apply(TrafficPrograms(netlink, lambda: wanted), *wanted)
        forwarder = KernelForwarder(netlink)
    own = [ip_address(a) for version in BOX for a in BOX[version]]
    service = RelayService(port=PORT, static=(), own_addresses=lambda: own, forwarder=forwarder)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(service.run())
        await eventually(lambda: service.is_ready)
        yield Running(service, forwarder)
        task.cancel()
    if isinstance(forwarder, KernelForwarder):
        await forwarder.close()


def udp_packet(version: int, source: str, destination: str, payload: bytes) -> bytes:
    """Return an IP packet from port 9 to the relay's."""
    one, other = ip_address(source).packed, ip_address(destination).packed
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", 9, PORT, length, 0) + payload
    sum_of_all = checksum(one + other + struct.pack("!II", length, 17) + udp)
    udp = udp[:6] + sum_of_all + payload
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + one + other + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + one + other
    return head[:10] + checksum(head) + head[12:] + udp


def checksum(content: bytes) -> bytes:
    """RFC 1071."""
    words = struct.unpack(f"!{(len(content) + 1) // 2}H", content + bytes(len(content) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")


@contextmanager
def open_tun(name: str) -> Generator[int]:
    """Make a device whose packets are read and written by the test."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF
        yield device
    finally:
        os.close(device)
