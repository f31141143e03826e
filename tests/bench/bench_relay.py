"""A peer relay against plain forwarding of the same packets by the same kernel.

    source --- box --- sink        the sink drops what arrives, before anything looks at it

The sender, the box's work and the sink's share one processor, as in a router with
one queue. Short runs of both take turns, and the 85th percentiles are compared: those
runs that others on this machine have disturbed least.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tests.bench.figures import Figure, finish
from tests.bench.packet_pump import Pump
from tests.linux.inside import apply, run_inside
from tests.linux.relay_bed import BOX, CLIENTS, PORT, Bed, make_bed, programs, socket_in

from gatepost.linux.netlink import Netlink
from gatepost.linux.relay_forwarder import KernelForwarder
from gatepost.linux.tc import TrafficPrograms
from gatepost.model.netmap import Endpoint
from gatepost.net.relay_socket import RelaySocket, RelayTable
from gatepost.sessions.relay_server import Flow, Onward
from gatepost.wire.geneve import HEADER_LENGTH, WIREGUARD, Geneve, write_geneve

PACKET = 1300  # bytes of UDP payload
BATCH = 45  # packets of a GSO batch
MANY = 10_000  # sessions
TURNS = 60
SECONDS = 0.04  # of one measurement
LEAST_DISTURBED = 0.85  # of the runs, in order of speed
SINK_PORT = 6000
ONE_LIMIT, MANY_LIMIT, BATCH_LIMIT = 0.85, 0.80, 0.80


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    version: int
    sessions: int
    segment: int
    limit: float


CASES = (
    Case("IPv4, one session", 4, 1, 0, ONE_LIMIT),
    Case(f"IPv4, {MANY:,} sessions", 4, MANY, 0, MANY_LIMIT),
    Case("IPv6, one session", 6, 1, 0, ONE_LIMIT),
    Case("IPv4, one session in batches", 4, 1, PACKET, BATCH_LIMIT),
)


def main() -> int:
    figures: list[Figure] = []
    with make_bed() as bed:
        _make_ready(bed)
        for case in CASES:
            figures += _compare(bed, case)
        figures += _user_space(bed)
        bed.close_sockets()
    return finish(figures)


def _make_ready(bed: Bed) -> None:
    bed.box.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    bed.b.nft(
        "table inet sink { chain here { type filter hook prerouting priority raw;"
        f" udp dport {SINK_PORT} drop; }}; }}"
    )
    wanted = programs("wan0", "wan1")

    async def attach(netlink: Netlink) -> None:
        await apply(TrafficPrograms(netlink, lambda: wanted), *wanted)

    run_inside(bed.box, attach)
    bed.a.run("ping", "-c1", CLIENTS[4][1])
    bed.a.run("ping", "-c1", CLIENTS[6][1])


def _compare(bed: Bed, case: Case) -> list[Figure]:
    source = socket_in(bed.a, CLIENTS[case.version][0])
    plain = socket_in(bed.a, CLIENTS[case.version][0])
    bed.opened.extend((source, plain))
    port = int(source.getsockname()[1])
    vnis = range(1000, 1000 + case.sessions)
    run_inside(bed.box, lambda netlink: _fill(netlink, case.version, port, vnis))
    source.connect((BOX[case.version][0], PORT))
    plain.connect((CLIENTS[case.version][1], SINK_PORT))
    messages = _messages(list(vnis), BATCH if case.segment else 1)
    relayed = Pump(source, messages, segment=case.segment)
    forwarded = Pump(plain, messages, segment=case.segment)
    turns = [(_measure(bed, relayed), _measure(bed, forwarded)) for _ in range(TURNS)]
    speed, plain_speed = (_best(speeds) for speeds in zip(*turns, strict=True))
    return [
        Figure(
            name=f"relay / plain forwarding, {case.name}",
            value=speed / plain_speed,
            unit="",
            limit=case.limit,
            wanted="at least",
        ),
        Figure(name=f"relay, {case.name}", value=speed * 8 / 1e9, unit="Gbit/s"),
    ]


def _messages(vnis: list[int], count: int) -> list[bytes]:
    """Return 4,096 messages of random sessions, or fewer batches of one session each."""
    rest = bytes(PACKET - HEADER_LENGTH)
    number = 4096 if count == 1 else 64
    chosen = (secrets.choice(vnis) for _ in range(number))
    return [write_geneve(Geneve(vni, WIREGUARD), rest) * count for vni in chosen]


async def _fill(netlink: Netlink, version: int, port: int, vnis: range) -> None:
    """Give the kernel sessions from the source to the sink."""
    forwarder = KernelForwarder(netlink)
    await forwarder.look()
    await forwarder.put(_flows(version, port, vnis))
    await forwarder.close()


def _flows(version: int, port: int, vnis: range) -> dict[Flow, Onward]:
    source = Endpoint(ip_address(CLIENTS[version][0]), port)
    here, there = (ip_address(a) for a in BOX[version])
    onward = Onward(Endpoint(ip_address(CLIENTS[version][1]), SINK_PORT), there)
    return {Flow(source, here, vni): onward for vni in vnis}


def _measure(bed: Bed, pump: Pump) -> float:
    """Return bytes a second that reached the sink."""
    before = _received(bed)
    lasted = pump.run(SECONDS)
    return (_received(bed) - before) / lasted


def _received(bed: Bed) -> int:
    """Read a counter of the sink's, without starting a program for it."""
    place = "sys/class/net/eth0/statistics/rx_bytes"
    return int(Path(f"/proc/{bed.b.process_id}/root", place).read_text())


def _best(speeds: Sequence[float]) -> float:
    return sorted(speeds)[int(LEAST_DISTURBED * len(speeds))]


def _user_space(bed: Bed) -> list[Figure]:
    """Measure the same without the kernel's program, on processors of its own."""
    figures: list[Figure] = []
    for name, segment in (("packet by packet", 0), ("in batches", PACKET)):
        source = socket_in(bed.a, CLIENTS[4][0])
        bed.opened.append(source)
        source.connect((BOX[4][0], PORT))
        pump = Pump(source, _messages([1], BATCH if segment else 1), segment=segment)
        flows = _flows(4, int(source.getsockname()[1]), range(1, 2))
        with _relay_socket(bed, flows):
            speed = _best([_measure(bed, pump) for _ in range(TURNS)])
        what = f"relay in user space, IPv4, sent {name}"
        figures.append(Figure(name=what, value=speed * 8 / 1e9, unit="Gbit/s"))
    return figures


@contextmanager
def _relay_socket(bed: Bed, flows: dict[Flow, Onward]) -> Generator[None]:
    """Run the socket that relays where the kernel cannot, in a thread."""
    ready, done = threading.Event(), threading.Event()

    async def work(_: Netlink) -> None:
        table = RelayTable()
        opened = RelaySocket(
            ip_address("0.0.0.0"),
            PORT,
            table,
            mark=0,
            on_control=lambda _packet, _source, _here: None,
            on_stun=lambda _: None,
        )
        opened.take_batches(wanted=True)
        for flow, onward in flows.items():
            table.put(flow, onward)
        ready.set()
        while not done.is_set():  # noqa: ASYNC110  # set by another thread
            await asyncio.sleep(0.01)
        opened.close()

    thread = threading.Thread(target=lambda: run_inside(bed.box, work))
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
