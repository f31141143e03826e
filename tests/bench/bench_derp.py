"""What the DERP relay forwards per second of its own processor time, and what a client costs.

The time is the relay's, user and system, because on a shared machine wall time
says more about the neighbours. Traffic is 1400-octet packets over TLS on the
loopback interface, from a generator in C (compiled here, with gcc and OpenSSL)
that checks each packet's sender, size and order. Two ways of sending: many
packets per TLS record, and one, which is what official clients do.

The yardstick is the least that any relay must do in this interpreter: open and
seal the same octets in full TLS records, without a socket. What was asked for,
5 Gbit/s a core in pairs, 3 in a mesh and 1.5 with single packets, was asked on
a machine whose yardstick was 16: the limits are these parts of it, because the
same machine does half as much while others use its caches.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec
from tests.bench.derp_load import openings
from tests.bench.figures import Figure, finish

from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import Insecure, client_context, server_context, utc_now

YARDSTICK = 16.0  # Gbit/s, where the limits come from
SECONDS = 2.0  # of measuring in each case
MANY = 46  # packets in a write: four full TLS records
IDLE_CLIENTS = 200
HALF = 0.5
TWICE = 2.0
HERE = Path(__file__).parent


class Load(msgspec.Struct, frozen=True):
    """What the generator reports; delays in milliseconds."""

    seconds: float
    gigabits: float
    server_cpu: float  # seconds
    own_cpu: float
    p50: float
    p99: float
    sent: int  # packets
    received: int
    wrong: int
    disordered: int
    withheld: int  # that the relay did not take in time, so that they were never sent

    @property
    def per_core(self) -> float:
        return self.gigabits / max(self.server_cpu, 0.01)

    @property
    def rate(self) -> float:
        return self.gigabits / self.seconds


class Relayed(msgspec.Struct, frozen=True):
    """What the relay reports: packets; `most` is octets of memory at its peak."""

    received: int
    sent: int
    dropped: dict[str, int]
    most: int = 0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        generator = _compiled(folder)
        yardstick = _yardstick(folder)
        figures = [Figure(name="yardstick: open and seal", value=yardstick, unit="Gbit/s")]
        for clients, mode, packets, limit in (
            (2, "pairs", MANY, 5.0),
            (20, "pairs", MANY, 5.0),
            (200, "pairs", MANY, 5.0),
            (2, "pairs", 1, 1.5),
            (20, "pairs", 1, 1.5),
            (200, "pairs", 1, 1.5),
            (100, "mesh", MANY, 3.0),
        ):
            load, _ = _run(folder, generator, clients, mode, packets, 0.0)
            name = _name(clients, mode, packets)
            figures += [
                Figure(name=f"per core, {name}", value=load.per_core, unit="Gbit/s"),
                Figure(
                    name="  part of the yardstick",
                    value=load.per_core / yardstick,
                    unit="",
                    limit=round(limit / YARDSTICK, 3),
                    wanted="at least",
                ),
            ]
            if (clients, packets) == (20, 1):
                figures += _delay(folder, generator, load.rate)
                figures += _overload(folder, generator, load)
        figures.append(_memory(folder))
    return finish(figures)


def _name(clients: int, mode: str, packets: int) -> str:
    how = "many packets a record" if packets > 1 else "one packet a record"
    return f"{clients} clients in {'pairs' if mode == 'pairs' else 'a mesh'}, {how}"


def _delay(folder: str, generator: str, rate: float) -> list[Figure]:
    """Offer half of what was carried a moment ago."""
    load, _ = _run(folder, generator, 20, "pairs", 1, rate * HALF)
    return [
        Figure(name="delay at half load, median", value=load.p50, unit="ms"),
        Figure(name="delay at half load, 99 %", value=load.p99, unit="ms"),
    ]


def _overload(folder: str, generator: str, carried: Load) -> list[Figure]:
    """Offer twice what was carried: as much comes through, and what is lost is known."""
    load, relayed = _run(folder, generator, 20, "pairs", 1, carried.rate * TWICE)
    unexplained = load.sent - load.received - sum(relayed.dropped.values())
    kept = load.per_core / carried.per_core
    return [
        Figure(
            name="per core at twice the load, against saturation",
            value=kept,
            unit="",
            limit=0.8,
            wanted="at least",
        ),
        Figure(name="delay at twice the load, 99 %", value=load.p99, unit="ms"),
        Figure(name="lost without a reason", value=unexplained, unit="packets", limit=0),
        Figure(name="memory at twice the load", value=relayed.most / 2**20, unit="MiB", limit=150),
    ]


def _run(  # a case has that many sides
    folder: str, generator: str, clients: int, mode: str, packets: int, gigabits: float
) -> tuple[Load, Relayed]:
    said = Path(folder) / "openings"
    said.write_bytes(openings(clients))
    with _start("server", folder) as server:
        port = _line(server)
        arguments = (port, clients, mode, packets, gigabits * 1000, SECONDS, server.pid, said)
        done = subprocess.run(
            (generator, *map(str, arguments)), stdout=PIPE, check=True, timeout=120
        )
        load = msgspec.json.decode(done.stdout, type=Load)
        most = _memory_of(server, "VmHWM")
        _go(server)
        relayed = msgspec.json.decode(_line(server), type=Relayed)
    if load.wrong or load.disordered:
        raise SystemExit(f"the relay delivered something else than was sent: {load}")
    _explain(_name(clients, mode, packets), gigabits, load, relayed)
    return load, msgspec.structs.replace(relayed, most=most)


def _explain(name: str, offered: float, load: Load, relayed: Relayed) -> None:
    what = f"offered {offered:.2f} Gbit/s" if offered else "as fast as it goes"
    lost = {reason: count for reason, count in relayed.dropped.items() if count}
    print(
        f"{name}, {what}: {load.rate:.2f} Gbit/s by the clock, "
        f"{load.server_cpu / load.gigabits:.2f} CPU-seconds per Gbit, "
        f"relay {load.server_cpu / load.seconds:.2f} of a core, "
        f"generator {load.own_cpu / load.seconds:.2f}, delay {load.p50:.1f} and {load.p99:.1f} ms, "
        f"withheld {load.withheld}, missing {load.sent - load.received}, dropped {lost}",
        flush=True,
    )


def _yardstick(folder: str) -> float:
    """Return how many Gbit/s of full records one core opens and seals again."""
    own = own_certificate(Path(folder) / "yardstick.pem", ("x",), utc_now())
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(own.path).wrap_bio(there, here, server_side=True)
    client = client_context(Insecure("")).wrap_bio(here, there)
    for side in (client, server, client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    piece = bytes(16 << 10)
    octets, began = 0, time.process_time()
    while time.process_time() - began < 0.5:
        for _ in range(100):
            client.write(piece)
            octets += len(server.read(len(piece)))
    return octets * 8 / 1e9 / (time.process_time() - began)


def _memory(folder: str) -> Figure:
    """Return what an idle client costs, by the difference that two hundred make."""
    with _start("server", folder) as server:
        port = _line(server)
        with _start("idle", port, "4") as first:
            _line(first)
            before = _memory_of(server, "VmRSS")
            with _start("idle", port, str(IDLE_CLIENTS)) as clients:
                _line(clients)
                each = (_memory_of(server, "VmRSS") - before) / IDLE_CLIENTS / 1024
                _end(clients)
            _end(first)
        _end(server)
    return Figure(name="memory per idle client", value=each, unit="KiB", limit=40)


def _compiled(folder: str) -> str:
    made = f"{folder}/derp_generator"
    source = str(HERE / "derp_generator.c")
    command = ("gcc", "-O2", "-Wall", "-Wextra", "-o", made, source, "-lssl", "-lcrypto")
    subprocess.run(command, check=True, timeout=60)
    return made


def _start(*arguments: str) -> Popen[str]:
    return Popen(
        (sys.executable, "-m", "tests.bench.derp_load", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        text=True,
    )


def _line(process: Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go(process: Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _end(process: Popen[str]) -> None:
    _go(process)
    _line(process)


def _memory_of(process: Popen[str], what: str) -> int:
    """Return octets: VmRSS is now, VmHWM the most there ever was."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) * 1024
    raise SystemExit(f"process {process.pid} has no {what}")


if __name__ == "__main__":
    sys.exit(main())
