"""TCP over Gatepost, compared with the same WireGuard set up by hand.

The same ground is built twice, side by side: once with Gatepost, once with
`wg` and `ip` only, where nothing of ours is in the way. By hand the boxes reach
each other by the IP version that Gatepost chose: over IPv6 a packet costs the
kernel more, whoever sends it. Both are measured in turns, and the ratio is the
median of the turns' ratios, so that what else the machine does cancels out.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain

from tests.bench.figures import Figure, finish
from tests.bench.outer import outer_version

from gatepost.testing.by_hand import connect_by_hand, tunnel_v4
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.lab_proof import await_pairs, transfer
from gatepost.testing.lab_report import backend
from gatepost.testing.netns import LabError, machines
from gatepost.testing.topology import Nat, Site, Topology, build

NATS = {"a": Nat.NONE, "b": Nat.NONE}
TURNS = 14
SECONDS = 1.0  # of each transfer
BOXES = 0.97  # at least, Gatepost / by hand
SITES = 0.92  # at least

Rate = Callable[[], float]  # megabits per second


def main() -> int:
    with ExitStack() as stack:
        lab = stack.enter_context(bring_up(NATS))
        by_hand = build(stack.enter_context(machines()), NATS)
        kind = backend(lab.boxes["a"])
        await_pairs(lab.sites)
        outer = outer_version(lab)
        connect_by_hand(by_hand.sites, userspace=kind == "wireguard-go", outer=outer)
        await_pairs(by_hand.sites)
        boxes = _compare(_boxes_by_gatepost(lab), _boxes_by_hand(by_hand))
        sites = _compare(_hosts(lab.topology), _hosts(by_hand))
        if outer_version(lab) != outer:
            raise LabError(f"the path changed from IPv{outer} while it was measured: again, please")
        kind = f"{kind} over IPv{outer}"
    return finish(
        [
            Figure(
                name=f"box to box, Gatepost / by hand ({kind})",
                value=statistics.median(ours / theirs for ours, theirs in boxes),
                unit="",
                limit=BOXES,
                wanted="at least",
            ),
            Figure(
                name=f"site to site with the filter, Gatepost / by hand ({kind})",
                value=statistics.median(ours / theirs for ours, theirs in sites),
                unit="",
                limit=SITES,
                wanted="at least",
            ),
            *_absolute("box to box", boxes),
            *_absolute("site to site", sites),
        ]
    )


def _absolute(what: str, turns: list[tuple[float, float]]) -> list[Figure]:
    ours, theirs = zip(*turns, strict=True)
    return [
        Figure(name=f"{what}, {who}", value=statistics.median(rates), unit="Mbit/s")
        for who, rates in (("Gatepost", ours), ("by hand", theirs))
    ]


def _compare(ours: Rate, theirs: Rate) -> list[tuple[float, float]]:
    """Measure in turns, and who goes first changes; the first turn warms up and does not count."""
    turns = list[tuple[float, float]]()
    for turn in range(TURNS + 1):
        if turn % 2:
            turns.append((ours(), theirs()))
        else:
            second, first = theirs(), ours()
            turns.append((first, second))
    return turns[1:]


def _hosts(topology: Topology) -> Rate:
    one, other = topology.sites
    return lambda: transfer(one.host, other.host, str(other.host_v4), seconds=SECONDS).rate


def _boxes_by_hand(topology: Topology) -> Rate:
    one, other = topology.sites
    return _boxes(one, other, str(tunnel_v4(other)))


def _boxes_by_gatepost(lab: Lab) -> Rate:
    one, other = lab.sites
    node = lab.boxes[other.name].client.status().node
    addresses = chain(node.addresses if node else ())
    return _boxes(one, other, next(a for a in addresses if ":" not in a))


def _boxes(one: Site, other: Site, address: str) -> Rate:
    return lambda: transfer(one.box, other.box, address, seconds=SECONDS).rate


if __name__ == "__main__":
    sys.exit(main())
