"""TCP from a box to the internet through an exit node, compared with plain routed WireGuard.

The plain one is set up by hand with `wg`, `ip` and one rule that masquerades: nothing filters
there. Both are measured in turns, and the ratio is the median of the turns' ratios, so that
what else the machine does cancels out. A LAN behind the user's box is measured, too.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from tests.bench.figures import Figure, finish
from tests.bench.outer import outer_version

from gatepost.model.status import PluginRequest, UpRequest
from gatepost.testing.by_hand import DEVICE, connect_by_hand
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.lab_proof import await_pairs, transfer
from gatepost.testing.lab_report import backend
from gatepost.testing.netns import Machine, machines
from gatepost.testing.scene_lab import await_answer
from gatepost.testing.topology import INTERNET_V4, Nat, Topology, build

NATS = {"a": Nat.NONE, "b": Nat.NONE}
TURNS = 14
SECONDS = 1.0  # of each transfer; iperf3 takes whole ones only
SETTLED = 10.0  # seconds until the boxes have chosen their path
LIMIT = 0.95  # at least, of by hand
EVERYWHERE = ("0.0.0.0/0", "::/0")
WHO = ("box", "LAN host")

Rate = Callable[[], float]  # megabits per second
Name = tuple[str, str]  # who talks, and by what


def main() -> int:
    with ExitStack() as stack:
        lab = stack.enter_context(bring_up(NATS))
        by_hand = build(stack.enter_context(machines()), NATS)
        kind = backend(lab.boxes["a"])
        await_pairs(lab.sites)
        outer = outer_version(lab)
        connect_by_hand(by_hand.sites, userspace=kind == "wireguard-go", outer=outer)
        await_pairs(by_hand.sites)
        _go_out_by_hand(by_hand)
        _go_out(lab)
        rates = {
            (who, by): _rate(topology, machine)
            for by, topology in (("Gatepost", lab.topology), ("by hand", by_hand))
            for who, machine in zip(
                WHO, (topology.sites[0].box, topology.sites[0].host), strict=True
            )
        }
        turns = _measure(rates)
    return finish(
        [
            *(
                Figure(
                    name=f"{who} through an exit, Gatepost / by hand ({kind}, IPv{outer})",
                    value=statistics.median(t[who, "Gatepost"] / t[who, "by hand"] for t in turns),
                    unit="",
                    limit=LIMIT,
                    wanted="at least",
                )
                for who in WHO
            ),
            *(
                Figure(
                    name=f"{who} through an exit, {by}",
                    value=statistics.median(turn[who, by] for turn in turns),
                    unit="Mbit/s",
                )
                for who, by in rates
            ),
        ]
    )


def _go_out(lab: Lab) -> None:
    user, exits = lab.boxes["a"], lab.boxes["b"]
    exits.client.change_settings(UpRequest(advertise_exit_node=True))
    lab.approve(exits, *EVERYWHERE)
    user.await_status(lambda s: any(set(EVERYWHERE) <= set(p.routes) for p in s.peers), "exit node")
    user.client.change_settings(UpRequest(exit_node=exits.name))
    lan = user.site.lan_v4
    user.client.change_plugin("exit-node", PluginRequest(settings={"networks": [str(lan)]}))
    wait_for(
        lambda: True if f"from {lan} " in user.site.box.run("ip", "rule") else None,
        seconds=SETTLED,
        otherwise=user.daemon.tail,
    )
    await_answer(user.site.host, str(INTERNET_V4), (user, exits))


def _go_out_by_hand(topology: Topology) -> None:
    """Let box a reach everywhere through box b, which masquerades; box a does for its LAN."""
    user, exits = (site.box for site in topology.sites)
    gateway = user.run("ip", "route", "show", "default").split()[2]
    public = topology.sites[1].public_v4
    key = user.run("wg", "show", DEVICE, "peers").strip()
    user.run("wg", "set", DEVICE, "peer", key, "allowed-ips", "0.0.0.0/0,::/0")
    user.ip(f"route add {public}/32 via {gateway}", f"route replace default dev {DEVICE}")
    for machine, out in ((user, DEVICE), (exits, "wan0")):
        machine.nft(
            "table ip hand { chain out { type nat hook postrouting priority srcnat;"
            f' oifname "{out}" masquerade; }}; }}'
        )
    await_answer(topology.sites[0].host, str(INTERNET_V4))


def _rate(topology: Topology, source: Machine) -> Rate:
    return lambda: transfer(source, topology.internet, str(INTERNET_V4), seconds=SECONDS).rate


def _measure(rates: Mapping[Name, Rate]) -> list[dict[Name, float]]:
    """Measure in turns, the order turned round each time; the first warms up only."""
    turns = list[dict[Name, float]]()
    for turn in range(TURNS + 1):
        names = list(rates)[:: 1 if turn % 2 else -1]
        turns.append({name: rates[name]() for name in names})
    return turns[1:]


if __name__ == "__main__":
    sys.exit(main())
