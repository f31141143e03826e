"""What the DERP relay forwards per second of its own processor time, and what a client costs.

The time is the relay's, user and system, because on a shared machine wall time
says more about the neighbours. Traffic is 1400-octet packets over TLS on the
loopback interface, from senders that never wait. Who was the slowest part is
told by how much of a core each side used. Two ways of sending: many packets
per TLS record, and one, which is what official clients do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec
from tests.bench.derp_load import BURST, PAYLOAD
from tests.bench.figures import Figure, finish

SECONDS = 3.0  # of sending in each case
IDLE_CLIENTS = 100
NEARLY = 0.9  # of a core: the relay had no more to give
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Load(msgspec.Struct, frozen=True):
    """What a process of clients reports."""

    packets: int
    cpu: float  # seconds


class Relayed(msgspec.Struct, frozen=True):
    """What the relay reports: packets."""

    received: int
    sent: int
    dropped: dict[str, int]


def main() -> int:
    figures: list[Figure] = []
    for clients in (2, 20):
        for packets in (BURST, 1):
            figures += _throughput(clients, packets)
    figures.append(_memory())
    return finish(figures)


def _throughput(clients: int, packets: int) -> list[Figure]:
    pairs = clients // 2
    with tempfile.TemporaryDirectory() as folder, _start("server", folder) as server:
        port = _line(server)
        with (
            _start("receive", port, str(pairs)) as receiver,
            _start("send", port, str(pairs), str(SECONDS), str(packets)) as sender,
        ):
            for process in (receiver, sender):
                _line(process)
            before, began = _processor(server), time.monotonic()
            for process in (receiver, sender):
                _go(process)
            sent = msgspec.json.decode(_line(sender), type=Load)
            busy = (_processor(server) - before) / (time.monotonic() - began)
            got = msgspec.json.decode(_line(receiver), type=Load)
            used = _processor(server) - before
        _go(server)
        relayed = msgspec.json.decode(_line(server), type=Relayed)
    if relayed.received != sent.packets or relayed.sent != got.packets:
        raise SystemExit(f"packets are missing: {sent} {relayed} {got}")
    name = f"{clients} clients, {'many packets' if packets > 1 else 'one packet'} a record"
    _explain(name, busy, sent, got)
    lost = 100 * (1 - relayed.sent / relayed.received)
    gigabits = got.packets * PAYLOAD * 8 / 1e9
    return [
        Figure(name=f"relayed per core, {name}", value=gigabits / used, unit="Gbit/s"),
        Figure(name=f"lost, {name}", value=lost, unit="%"),
    ]


def _explain(name: str, busy: float, sent: Load, got: Load) -> None:
    slowest = "the relay" if busy > NEARLY else "the senders, the receivers or the machine"
    print(
        f"{name}: the relay used {busy:.2f} of a core, senders {sent.cpu / SECONDS:.2f}, "
        f"receivers {got.cpu / SECONDS:.2f}; slowest was {slowest}; "
        f"{got.packets * PAYLOAD * 8 / 1e9 / SECONDS:.2f} Gbit/s by the clock"
    )


def _memory() -> Figure:
    with tempfile.TemporaryDirectory() as folder, _start("server", folder) as server:
        port = _line(server)
        with _start("idle", port, "4") as first:
            _line(first)
            before = _resident(server)
            with _start("idle", port, str(IDLE_CLIENTS)) as clients:
                _line(clients)
                each = (_resident(server) - before) / IDLE_CLIENTS / 1024
                _end(clients)
            _end(first)
        _end(server)
    return Figure(name="memory per idle client", value=each, unit="KiB")


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


def _processor(process: Popen[str]) -> float:
    """Return seconds of user and system time."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(process: Popen[str]) -> int:
    """Return octets of memory in use."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    sys.exit(main())
