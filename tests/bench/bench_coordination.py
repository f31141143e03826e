"""How the coordination server does with many nodes: `bench_coordination.py [NODES]`.

The server runs in a process of its own; the driver speaks the real protocol
(Noise, HTTP/2, register, map stream, lite updates) over loopback. It does not
decode the maps, as that is the work of 2,000 other machines; three nodes do,
to prove that everybody sees everybody. The limits are those of the
issue: joined within 60 s, an endpoint change at all within 1 s, 400 MiB.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import zstandard
from tests.bench.figures import Figure, finish

from gatepost.errors import UnreachableError
from gatepost.localapi.admin_client import AdminClient
from gatepost.model.admin import KeyRequest, UserRequest
from gatepost.model.keys import DiscoPublic, MachinePrivate, NodePrivate
from gatepost.net.control_client import ControlClient
from gatepost.sessions.netmap import MapState
from gatepost.wire.go_json import write_json
from gatepost.wire.hostinfo import Hostinfo, NetInfo, Service
from gatepost.wire.netmap import MapRequest
from gatepost.wire.register import RegisterAuth, RegisterRequest

AT_ONCE = 64  # machines that join at the same time
DECODING = 3  # nodes that read all their maps
LIMITS = {"join_s": 60.0, "change_s": 1.0, "change_worst_s": 1.0, "memory_mib": 400.0}
_LENGTH = struct.Struct("<I")


class Driver(ControlClient):
    """A node's connection that can also leave its maps undecoded."""

    async def frames(self, request: MapRequest) -> AsyncGenerator[bytes]:
        """Yield the compressed content of each frame."""
        exchange = await self._open("POST", "/machine/map", write_json(request))
        try:
            await exchange.head()
            buffer = bytearray()
            while (piece := await exchange.piece()) is not None:
                buffer += piece
                while len(buffer) >= 4 and len(buffer) >= 4 + (n := _LENGTH.unpack_from(buffer)[0]):
                    yield bytes(buffer[4 : 4 + n])
                    del buffer[: 4 + n]
        finally:
            exchange.close()


@dataclass(slots=True)
class Tally:
    """What the driver has seen."""

    frames: int = 0
    octets: int = 0
    searching: bool = False
    mark: bytes = b""  # what is searched for
    found: dict[int, float] = field(default_factory=dict[int, float])
    first: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class Machine:
    number: int
    client: Driver
    node: NodePrivate
    secret: str

    def hostinfo(self) -> Hostinfo:
        return Hostinfo(
            hostname=f"site-{self.number}",
            os="linux",
            os_version="6.12",
            ipn_version="1.90.0",
            go_arch="amd64",
            services=(Service(proto="peerapi4", port=41000), Service(proto="peerapi6", port=41001)),
            net_info=NetInfo(preferred_derp=900, working_udp=True, derp_latency={"900-v4": 0.01}),
        )

    async def join(self) -> None:
        request = RegisterRequest(
            version=131,
            node_key=self.node.public,
            auth=RegisterAuth(auth_key=self.secret),
            hostinfo=Hostinfo(hostname=f"site-{self.number}", os="linux"),
        )
        await self.client.register(request)

    async def update(self, *endpoints: str) -> None:
        last = self.number % 250 + 1
        await self.client.update(
            MapRequest(
                version=131,
                node_key=self.node.public,
                disco_key=DiscoPublic(self.node.public.raw),
                hostinfo=self.hostinfo(),
                endpoints=(f"192.0.2.{last}:41641", f"10.0.0.{last}:41641", *endpoints),
                compress="zstd",
            )
        )

    def poll(self) -> MapRequest:
        return MapRequest(
            version=131, node_key=self.node.public, stream=True, compress="zstd", keep_alive=True
        )

    async def watch(self, tally: Tally) -> None:
        async for frame in self.client.frames(self.poll()):
            tally.frames += 1
            tally.octets += len(frame)
            tally.first.add(self.number)
            if tally.searching and self.number not in tally.found:
                message = zstandard.ZstdDecompressor().decompress(frame, max_output_size=64 << 20)
                if tally.mark in message:
                    tally.found[self.number] = time.perf_counter()

    async def decode(self, tally: Tally, state: MapState) -> None:
        async for message in self.client.map(self.poll()):
            tally.first.add(self.number)
            state.apply(message)


@dataclass(slots=True)
class Server:
    """The server under test, in its own process."""

    process: subprocess.Popen[bytes]
    url: str
    admin: AdminClient

    def memory(self, name: str) -> float:
        """Return `VmRSS` or `VmHWM` in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(part for part in status.splitlines() if part.startswith(name))
        return int(line.split()[1]) / 1024

    def processor(self) -> float:
        """Return the seconds of processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for sock in sockets:
        sock.close()
    return ports


def start_server(directory: Path) -> Server:
    plain, tls, stun = free_ports(3)
    settings = directory / "coordination.toml"
    settings.write_text(
        f'server-url = "http://127.0.0.1:{plain}"\ndomain = "mesh.example"\n'
        f'listen = ["127.0.0.1:{plain}"]\nlisten-tls = ["127.0.0.1:{tls}"]\n'
        f'stun = ["127.0.0.1:{stun}"]\n'
    )
    path = directory / "admin.sock"
    command = (sys.executable, "-m", "gatepost.coordination.main")
    flags = ("--state-directory", str(directory / "state"), "--settings", str(settings))
    process = subprocess.Popen((*command, *flags, "--socket", str(path)))
    admin = AdminClient(path)
    for _ in range(200):
        try:
            admin.server()
            break
        except UnreachableError:
            time.sleep(0.05)
    return Server(process, f"http://127.0.0.1:{plain}", admin)


async def join_all(
    machines: list[Machine], tally: Tally, states: dict[int, MapState]
) -> list[asyncio.Task[None]]:
    """Let all join, a few at a time; return their polls, which go on."""
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(AT_ONCE)
    polls: list[asyncio.Task[None]] = []

    async def one(machine: Machine) -> None:
        async with turn:
            await machine.join()
            state = states.get(machine.number)
            poll = machine.watch(tally) if state is None else machine.decode(tally, state)
            polls.append(loop.create_task(poll))
            await machine.update()
            while machine.number not in tally.first:  # noqa: ASYNC110  # thousands of events cost more
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(one(machine))
    return polls


async def until(limit: float, done: Callable[[], bool]) -> None:
    """Wait until `done()` says so, at most `limit` seconds."""
    end = time.perf_counter() + limit
    while not done() and time.perf_counter() < end:  # noqa: ASYNC110  # a condition, not an event
        await asyncio.sleep(0.005)


async def measure(server: Server, count: int) -> dict[str, float]:
    server.admin.create_user(UserRequest(name="bench"))
    key = server.admin.create_key(KeyRequest(user="bench", reusable=True))
    machines = [
        Machine(
            i,
            Driver(server.url, MachinePrivate(secrets.token_bytes(32)), version=131),
            NodePrivate(secrets.token_bytes(32)),
            key.secret,
        )
        for i in range(count)
    ]
    states = {i * count // DECODING: MapState() for i in range(DECODING)}
    tally = Tally()
    began = time.perf_counter()
    polls = await join_all(machines, tally, states)
    joined = time.perf_counter() - began
    join_processor = server.processor()

    def everybody_known() -> bool:
        maps = [s.netmap() for s in states.values()]
        known = [m.peers for m in maps if m is not None]
        return len(known) == DECODING and all(
            len(p) == count - 1 and all(n.disco and n.home_derp for n in p) for p in known
        )

    await until(30.0, everybody_known)
    gc.freeze()  # a pause of the driver is none of the server's
    gc.disable()
    complete = time.perf_counter() - began
    changes = [await change(machines[i], tally, count, i) for i in range(1, 6)]
    idle = server.processor()
    await asyncio.sleep(5)
    figures = {
        "nodes": count,
        "join_s": joined,
        "everybody_known_s": complete if everybody_known() else -1.0,
        "server_processor_s": join_processor,
        "change_s": sorted(changes)[len(changes) // 2],
        "change_worst_s": max(changes),
        "memory_mib": server.memory("VmRSS"),
        "memory_peak_mib": server.memory("VmHWM"),
        "idle_processor_percent": (server.processor() - idle) / 5 * 100,
        "frames": tally.frames,
        "mib_received": tally.octets / (1 << 20),
    }
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await asyncio.gather(*(m.client.close() for m in machines))
    return figures


async def change(machine: Machine, tally: Tally, count: int, port: int) -> float:
    """Change an endpoint and return when the last of all others has heard of it, in seconds."""
    tally.mark = f"203.0.113.77:{port}".encode()
    tally.found.clear()
    tally.searching = True
    began = time.perf_counter()
    await machine.update(tally.mark.decode())
    expected = count - 1 - DECODING
    await until(30.0, lambda: len(tally.found) >= expected)
    tally.searching = False
    if len(tally.found) < expected:
        return float("inf")
    await asyncio.sleep(0.5)
    return max(tally.found.values()) - began


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as name:
        server = start_server(Path(name))
        try:
            figures = asyncio.run(measure(server, count))
        finally:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(20)
    return finish(
        [
            Figure(name=name.replace("_", " "), value=value, unit="", limit=LIMITS.get(name))
            for name, value in figures.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
