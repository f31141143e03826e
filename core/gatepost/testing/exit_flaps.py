"""Does to a box with an exit node what happens to boxes, again and again, and looks for leaks.

    python -m gatepost.testing.exit_flaps --flaps 100

While the box talks without pause, by IPv4 and IPv6, to the internet and to the name server
of its LAN, its exit goes, its daemon is killed, its device is deleted, another exit is chosen,
or it boots. Both its links are captured: whatever of that talk is seen there has leaked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gatepost.model import owned
from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_exit import Talker, hear, in_the_clear, talk, watch_lan, watch_uplink
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.netns import LabError
from gatepost.testing.scene_lab import ping
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Nat

EVERYWHERE = ("0.0.0.0/0", "::/0")
KINDS = ("exit down", "daemon killed", "device deleted", "other exit", "boot")
BACK = 60.0  # seconds until packets leave through the exit again; far more than it takes
_AWAY = 0.3  # seconds in which something is missing, so that packets meet that
_RULES = range(5200, 5300)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen. `leaked` counts packets in the clear by their address and port.

    `heard` counts what came by IPv4 and IPv6 from each address; `flaps` by kind; `back` are
    the seconds after each flap until packets left through an exit again.
    """

    flaps: Counter[str]
    leaked: dict[tuple[str, int], int]
    heard: dict[str, int]
    back: dict[str, list[float]]


@dataclass(slots=True)
class Flaps:
    """A box, `user`, that goes out through one of two `exits`."""

    lab: Lab
    user: Box
    exits: tuple[Box, Box]
    used: int = 0
    back: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    done: Counter[str] = field(default_factory=Counter[str])
    talker: Talker | None = None

    def talk(self) -> None:
        host = self.user.site
        self.talker = talk(host.box, f"{host.host_v4}#53", f"{host.host_v6}#53")

    def hush(self) -> None:
        if self.talker is not None:
            self.talker.hush()
            self.talker = None

    def flap(self, kind: str) -> None:
        """Let one thing happen, and wait until packets leave again."""
        match kind:
            case "exit down":
                self._exit_goes_and_comes()
            case "daemon killed":
                self.user.daemon.signal("KILL")
                time.sleep(_AWAY)
                self.user.daemon.start()
            case "device deleted":
                self.user.site.box.attempt("ip", "link", "delete", owned.DEVICE)
            case "other exit":
                self.used = 1 - self.used
                self.user.client.change_settings(UpRequest(exit_node=self.exits[self.used].name))
            case "boot":
                self._boot()
            case _:
                raise LabError(f"no such flap: {kind}")
        began = time.monotonic()
        wait_for(
            lambda: True if self._is_out() else None,
            seconds=BACK,
            otherwise=lambda: f"not back after {kind}:\n{self.user.daemon.tail()}",
        )
        self.back.setdefault(kind, []).append(time.monotonic() - began)
        self.user.daemon.await_answer(self.user.client.version)
        self.done[kind] += 1

    def _exit_goes_and_comes(self) -> None:
        exits = self.exits[self.used]
        exits.client.down()
        time.sleep(_AWAY)
        exits.client.up(UpRequest())

    def _boot(self) -> None:
        """Lose all that a machine loses, load what is loaded before the network, and start."""
        machine = self.user.site.box
        self.hush()
        self.user.daemon.signal("KILL")
        machine.attempt("ip", "link", "delete", owned.DEVICE)
        for family in ("-4", "-6"):
            for priority in _RULES:
                while not machine.attempt(
                    "ip", family, "rule", "delete", "priority", str(priority)
                ).returncode:
                    pass
            machine.attempt("ip", family, "route", "flush", "table", str(owned.EXIT_TABLE))
        machine.nft("flush ruleset")
        kept = self.user.directory / "state" / f"nftables-{owned.NFT_GUARD_TABLE}.loaded"
        # As in gatepost-guard.service.
        machine.nft(kept.read_text().partition("\n")[2])
        self.talk()
        time.sleep(_AWAY)
        self.user.daemon.start()

    def _is_out(self) -> bool:
        machine = self.user.site.box
        return ping(machine, str(INTERNET_V4), "-i0.2") and ping(machine, str(INTERNET_V6))


@contextmanager
def flapping_lab(user: str = "c", exits: tuple[str, str] = ("a", "b")) -> Generator[Flaps]:
    """Have three sites, two of which are exits for the third."""
    with bring_up({"a": Nat.NONE, "b": Nat.NONE, "c": Nat.NONE}) as lab:
        yield prepare(lab, lab.boxes[user], (lab.boxes[exits[0]], lab.boxes[exits[1]]))


def prepare(lab: Lab, user: Box, exits: tuple[Box, Box]) -> Flaps:
    """Let both exits be offered and approved, and the box use the first of them."""
    for box in exits:
        box.client.change_settings(UpRequest(advertise_exit_node=True))
    for box in exits:
        lab.approve(box, *EVERYWHERE)
    user.await_status(
        lambda s: sum(set(EVERYWHERE) <= set(p.routes) for p in s.peers) == len(exits), "exits"
    )
    user.client.change_settings(UpRequest(exit_node=exits[0].name))
    ways = f"lookup {owned.EXIT_TABLE} "
    wait_for(
        lambda: True if ways in user.site.box.run("ip", "-6", "rule") else None,
        seconds=10,
        otherwise=user.daemon.tail,
    )
    return Flaps(lab, user, exits)


def run_flaps(flaps: Flaps, number: int) -> Outcome:
    """Do so many flaps, of the kinds in turn, under capture."""
    site = flaps.user.site
    wires = (watch_uplink(flaps.lab, site), watch_lan(site))
    ear = hear(flaps.lab.topology.internet)
    flaps.talk()
    for turn in range(number):
        flaps.flap(KINDS[turn % len(KINDS)])
    flaps.hush()
    leaked = Counter[tuple[str, int]]()
    for wire in wires:
        leaked.update(in_the_clear(wire.finish()))
    return Outcome(flaps.done, dict(leaked), ear.finish(), flaps.back)


def main() -> int:
    """Print what was seen; return 0 only if nothing leaked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flaps", type=int, default=100)
    number = parser.parse_args().flaps
    with flapping_lab() as flaps:
        outcome = run_flaps(flaps, number)
        expected = {str(a) for b in flaps.exits for a in (b.site.public_v4, b.site.public_v6)}
    for kind, count in outcome.flaps.items():
        back = sorted(outcome.back[kind])
        middle, most = back[len(back) // 2], back[-1]
        print(f"{kind}: {count}, back after {middle:.1f} s (median), {most:.1f} s at most")  # noqa: T201  # a program for people
    print(f"heard outside, by sender: {outcome.heard}")  # noqa: T201
    print(f"leaked: {outcome.leaked or 'nothing'}")  # noqa: T201
    return 0 if not outcome.leaked and set(outcome.heard) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
