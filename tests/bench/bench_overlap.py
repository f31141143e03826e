"""TCP between LAN hosts of overlapping sites, by 4via6 and by alias, compared with plain routes.

The plain ones are WireGuard set up by hand with `wg` and `ip`, between sites that do not overlap:
nothing filters or rewrites there. All three are measured in turns, and a ratio is the median of
the turns' ratios, so that what else the machine does cancels out.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Network

from tests.bench.figures import Figure, finish
from tests.bench.outer import outer_version

from gatepost.model.via6 import via_prefix
from gatepost.testing.by_hand import connect_by_hand
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.lab_proof import await_pairs, transfer
from gatepost.testing.lab_report import backend
from gatepost.testing.netns import machines
from gatepost.testing.scene_lab import await_answer, join, turn_on
from gatepost.testing.topology import Nat, Site, build

NATS = {"a": Nat.NONE, "b": Nat.NONE}
SAME = IPv4Network("192.168.1.0/24")
TURNS = 16
SECONDS = 1.0  # of each transfer, whole ones: iperf3 takes no parts
LIMITS = {"4via6": 0.85, "alias": 0.95}  # at least, of by hand

Rate = Callable[[], float]  # megabits per second


def main() -> int:
    with ExitStack() as stack:
        lab = stack.enter_context(ground(NATS, lan=SAME))
        by_hand = build(stack.enter_context(machines()), NATS)
        _share(lab)
        kind = backend(lab.boxes["a"])
        connect_by_hand(by_hand.sites, userspace=kind == "wireguard-go", outer=outer_version(lab))
        await_pairs(by_hand.sites)
        far, (one, other) = lab.sites[1], by_hand.sites
        rates = {
            "4via6": _rate(lab.sites[0], far, _via(far)),
            "alias": _rate(lab.sites[0], far, _alias(far)),
            "by hand": _rate(one, other, str(other.host_v4)),
        }
        turns = _measure(rates)
    ratios = {
        name: statistics.median(turn[name] / turn["by hand"] for turn in turns) for name in LIMITS
    }
    return finish(
        [
            *(
                Figure(
                    name=f"site to site by {name} / by hand ({kind})",
                    value=ratios[name],
                    unit="",
                    limit=LIMITS[name],
                    wanted="at least",
                )
                for name in LIMITS
            ),
            *(
                Figure(
                    name=f"site to site, {name}",
                    value=statistics.median(turn[name] for turn in turns),
                    unit="Mbit/s",
                )
                for name in rates
            ),
        ]
    )


def _share(lab: Lab) -> None:
    start(lab)
    join(lab)
    for box in lab.boxes.values():
        site = box.site
        turn_on(box, "via6", site=site.number, networks=[str(SAME)])
        turn_on(box, "alias", networks=[f"{_alias_network(site)}={SAME}"])
        lab.approve(box, str(via_prefix(site.number, SAME)), str(_alias_network(site)))
    near, far = lab.sites
    for address in (_via(far), _alias(far)):
        await_answer(near.host, address, tuple(lab.boxes.values()))


def _alias_network(site: Site) -> IPv4Network:
    return IPv4Network(f"10.201.{site.number}.0/24")


def _alias(site: Site) -> str:
    return str(_alias_network(site)[2])


def _via(site: Site) -> str:
    return str(via_prefix(site.number, IPv4Network(site.host_v4))[0])


def _rate(one: Site, other: Site, address: str) -> Rate:
    return lambda: transfer(one.host, other.host, address, seconds=SECONDS).rate


def _measure(rates: Mapping[str, Rate]) -> list[dict[str, float]]:
    """Measure in turns, forward and backward; the first warms up and does not count."""
    turns = list[dict[str, float]]()
    for number in range(TURNS + 1):
        order = list(rates) if number % 2 else list(rates)[::-1]
        turns.append({name: rates[name]() for name in order})
    return turns[1:]


if __name__ == "__main__":
    sys.exit(main())
