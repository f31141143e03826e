"""The proof that sites talk: pings between all LAN hosts, and one TCP transfer.

It looks at the hosts only, so it judges any router the same way.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import msgspec

from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.netns import LabError, Machine, patient
from gatepost.testing.topology import Site

PINGS = 5  # for the round-trip time of a pair
PING_INTERVAL = 0.1  # seconds between them
PING_TIMEOUT = 2.0  # seconds that the last of them may take
FIRST_PING_TIMEOUT = 20.0  # seconds until all pairs work
TRANSFER_PORT = 5201  # iperf3's own

_ROUND_TRIP = re.compile(r"= ([\d.]+)/([\d.]+)/([\d.]+)/")  # min/avg/max, milliseconds
Version = Literal[4, 6]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One host's pings to another. `round_trip` is the mean in milliseconds; None: no answer."""

    source: str
    destination: str
    address: str
    version: Version
    sent: int
    received: int
    round_trip: float | None

    @property
    def works(self) -> bool:
        return self.received == self.sent


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One TCP transfer. `rate` is what arrived, in megabits (10^6) per second."""

    source: str
    destination: str
    seconds: float
    octets: int
    rate: float
    retransmits: int


@dataclass(frozen=True, slots=True)
class _Ping:
    source: Site
    destination: Site
    version: Version

    @property
    def address(self) -> str:
        far = self.destination
        return str(far.host_v4 if self.version == 4 else far.host_v6)  # noqa: PLR2004  # the IP version

    def start(self, count: int) -> subprocess.Popen[str]:
        interval, wait = str(PING_INTERVAL), str(PING_TIMEOUT)
        command = ("ping", "-n", "-c", str(count), "-i", interval, "-W", wait, self.address)
        return self.source.host.start(*command, output=subprocess.PIPE)


def _all_pings(sites: Iterable[Site]) -> list[_Ping]:
    versions: tuple[Version, Version] = (4, 6)
    return [_Ping(a, b, v) for a, b in permutations(sites, 2) for v in versions]


def await_pairs(sites: Sequence[Site], *, seconds: float = FIRST_PING_TIMEOUT) -> float:
    """Wait until every host has had an answer from every other; return the seconds it took.

    The second direction of each pair starts after the first: when both ends of
    a tunnel begin a WireGuard handshake in the same millisecond, each drops
    the other's answer and tries again 5 seconds later.
    Raises LabError naming the pairs that stay silent.
    """
    began = time.monotonic()
    silent = _all_pings(sites)

    def look() -> bool | None:
        nonlocal silent
        forth = [p for p in silent if p.source.number < p.destination.number]
        back = [p for p in silent if p.source.number > p.destination.number]
        silent = [*_unanswered(forth), *_unanswered(back)]
        return None if silent else True

    def complaint() -> str:
        names = ", ".join(f"{p.source.host.name} to {p.address}" for p in silent)
        return f"no answer to pings within {seconds:g} s: {names}"

    wait_for(look, seconds=seconds, otherwise=complaint)
    return time.monotonic() - began


def _unanswered(pings: Iterable[_Ping]) -> list[_Ping]:
    tries = [(ping, ping.start(1)) for ping in pings]
    return [ping for ping, process in tries if not _finish(process)[0]]


def ping_pairs(sites: Sequence[Site], *, count: int = PINGS) -> tuple[Pair, ...]:
    """Ping from every host to every other, IPv4 and IPv6, all at once."""
    running = [(ping, ping.start(count)) for ping in _all_pings(sites)]
    return tuple(_pair(ping, count, *_finish(process)) for ping, process in running)


def _finish(process: subprocess.Popen[str]) -> tuple[int, float | None]:
    """Return how many answers came and their mean round-trip time in milliseconds."""
    output, _ = process.communicate(timeout=patient(PINGS * PING_INTERVAL + PING_TIMEOUT + 10))
    received = re.search(r"(\d+) received", output)
    times = _ROUND_TRIP.search(output)
    return int(received[1]) if received else 0, float(times[2]) if times else None


def _pair(ping: _Ping, sent: int, received: int, round_trip: float | None) -> Pair:
    return Pair(
        source=ping.source.host.name,
        destination=ping.destination.host.name,
        address=ping.address,
        version=ping.version,
        sent=sent,
        received=received,
        round_trip=round_trip,
    )


def transfer(
    source: Machine, destination: Machine, address: str, *, seconds: float = 3.0
) -> Transfer:
    """Send TCP from one machine to another for so long; raise LabError when it does not work."""
    server = destination.start(
        "iperf3", "-s", "-1", "-p", str(TRANSFER_PORT), output=subprocess.DEVNULL
    )
    listening = f":{TRANSFER_PORT}"
    wait_for(
        lambda: True if listening in destination.run("ss", "-lntH") else None,
        seconds=5.0,
        otherwise=lambda: f"iperf3 does not listen in {destination.name}",
    )
    client = source.attempt(
        *("iperf3", "-c", address, "-p", str(TRANSFER_PORT), "-t", f"{seconds:g}", "-J"),
        *("--connect-timeout", "3000"),
        timeout=seconds + 15,
    )
    report = msgspec.json.decode(client.stdout or b"{}", type=_Report)
    sent, arrived = report.end.sum_sent, report.end.sum_received
    if report.error or arrived is None or sent is None:
        destination.attempt("pkill", "-x", "iperf3")
        why = report.error or client.stderr.strip() or "no result"
        raise LabError(f"transfer from {source.name} to {address}: {why}")
    server.wait(timeout=patient(5))
    return Transfer(
        source=source.name,
        destination=destination.name,
        seconds=round(arrived.seconds, 2),
        octets=arrived.bytes,
        rate=round(arrived.bits_per_second / 1e6, 1),
        retransmits=sent.retransmits,
    )


class _Sum(msgspec.Struct):
    seconds: float
    bytes: int
    bits_per_second: float
    retransmits: int = 0


class _End(msgspec.Struct):
    sum_sent: _Sum | None = None
    sum_received: _Sum | None = None


class _Report(msgspec.Struct):
    """The part of iperf3's JSON that counts. Its exit code is 0 even when it could not connect."""

    end: _End = msgspec.field(default_factory=_End)
    error: str = ""
