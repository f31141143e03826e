"""TCP through a peer relay, compared with the same boxes on a direct path.

Two labs side by side, the same but that in one of them the boxes' packets to
each other are dropped on the way: WireGuard sends through the relay at the
hub, whose header the kernel puts on and takes off. Both are measured in turns,
and the ratio is the median of the turns' ratios. All machines share this one's
processors, so the relay's own work counts against it.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack

from tests.bench.figures import Figure, finish
from tests.mesh.relay_lab import await_kernel, await_path, relay_lab

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import transfer
from gatepost.testing.lab_report import backend
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import mesh_v4
from gatepost.testing.nat_stream import start_stream

NATS = {"one": Nat.NONE, "two": Nat.NONE}
TURNS = 10
SECONDS = 1.0  # of each transfer
SETTLING = 30.0  # seconds until the boxes have chosen their path
RATIO = 0.85  # at least, relay / direct


def main() -> int:
    with ExitStack() as stack:
        direct = stack.enter_context(relay_lab(NATS, relay=False))
        relayed = stack.enter_context(relay_lab(NATS))
        cut(relayed)
        use(direct, "direct")
        use(relayed, "relay")
        await_kernel(relayed)
        turns = [(measure(relayed), measure(direct)) for _ in range(TURNS)]
        kind = backend(direct.boxes["one"])
    return finish(
        [
            Figure(
                name=f"through a relay / direct, TCP ({kind})",
                value=statistics.median(ours / theirs for ours, theirs in turns),
                unit="",
                limit=RATIO,
                wanted="at least",
            ),
            Figure(
                name="through a relay",
                value=statistics.median(ours for ours, _ in turns),
                unit="Mbit/s",
            ),
            Figure(
                name="direct",
                value=statistics.median(theirs for _, theirs in turns),
                unit="Mbit/s",
            ),
        ]
    )


def cut(lab: Lab) -> None:
    """Let the internet drop what the two boxes send each other."""
    one, two = (str(lab.boxes[name].site.public_v4) for name in ("one", "two"))
    lab.topology.internet.nft(
        "table inet cut { chain carry { type filter hook forward priority 0;"
        f" ip saddr {one} ip daddr {two} drop; ip saddr {two} ip daddr {one} drop; }}; }}"
    )


def use(lab: Lab, path: str) -> None:
    """Send something until the boxes use that kind of path."""
    warming = start_stream(lab.boxes["one"].site.box, mesh_v4(lab.boxes["two"]), SETTLING)
    await_path(lab, path, SETTLING)
    warming.end()


def measure(lab: Lab) -> float:
    """Return megabits per second from one box to the other."""
    one, two = lab.boxes["one"].site.box, lab.boxes["two"]
    return transfer(one, two.site.box, mesh_v4(two), seconds=SECONDS).rate


if __name__ == "__main__":
    sys.exit(main())
