"""Peers written to WireGuard, compared with `wg addconf` on the same kind of device.

GATEPOST_TEST_WIREGUARD=wireguard-go measures that one where the kernel has WireGuard too.
"""

from __future__ import annotations

import statistics
import sys

from tests.bench.figures import Figure, finish
from tests.linux.against_wg import compare, ratio
from tests.linux.inside import run_inside

from gatepost.testing.netns import machines

PEERS = 1000
TURNS = 5
MANY = 1.1  # at most, Gatepost / wg: both wait for the same arithmetic
ONE = 0.5  # at most, Gatepost / wg: a new process each time is the price of the program


def main() -> int:
    with machines() as owner:
        (machine,) = owner.add("peers")
        found = run_inside(machine, lambda netlink: compare(netlink, PEERS, TURNS))
    figures: list[Figure] = []
    for name, turns, limit in (
        (f"{PEERS:,} peers", found.many, MANY),
        ("one peer", found.one, ONE),
    ):
        what = f"{name}, Gatepost / wg ({found.backend})"
        figures.append(Figure(name=what, value=ratio(turns), unit="", limit=limit))
        for who, seconds in zip(("Gatepost", "wg addconf"), zip(*turns, strict=True), strict=True):
            value = statistics.median(seconds) * 1e3
            figures.append(Figure(name=f"{name}, {who}", value=value, unit="ms"))
    return finish(figures)


if __name__ == "__main__":
    sys.exit(main())
