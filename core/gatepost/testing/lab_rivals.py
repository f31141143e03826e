"""Two boxes that carry one LAN, the ways in which they fail, and how long a failure is felt.

         internet ──── box-a (coordination server)
        │        │
      box-b    box-c            box-d ──── host-d pings printer
        │        │
        └─ printer ─┘           10.77.0.0/24, fd77::/64

The printer stands for a switch, too: both boxes are plugged into a bridge in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from gatepost.model.admin import NodeDocument, NodeRequest
from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.netns import LabError, Machine, connect
from gatepost.testing.topology import Nat

SHARED = ("10.77.0.0/24", "fd77::/64")
PRINTER = "10.77.0.9"
BOXES = ("b", "c")
INTERVAL = 0.05  # seconds between two pings
RECOVERY = 60.0  # seconds within which everything must be as before
_REPLY = re.compile(r"^\[([\d.]+)\] .* icmp_seq=(\d+) ttl=", re.MULTILINE)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rivals:
    """The lab with its shared LAN; one of the boxes is the primary of the moment."""

    lab: Lab
    printer: Machine

    def node(self, name: str) -> NodeDocument:
        """Return what the server knows of a box."""
        wanted = self.lab.boxes[name].name
        return next(n for n in self.lab.coordination.client.nodes() if n.name == wanted)

    def primary(self) -> str:
        """Return the name of the box that the shared LAN leads to now; "" for none."""
        found = [n for n in BOXES if SHARED[0] in self.node(n).primary_routes]
        return found[0] if found else ""

    def is_whole(self) -> bool:
        """Say whether both boxes are there, with the LAN, and one of them is the primary."""
        nodes = [self.node(n) for n in BOXES]
        carry = all(n.online and n.reachable and SHARED[0] in n.announced_routes for n in nodes)
        return carry and bool(self.primary())

    def await_whole(self) -> None:
        wait_for(
            lambda: self.is_whole() or None,
            seconds=RECOVERY,
            otherwise=lambda: f"not both boxes carry the LAN: {[self.node(n) for n in BOXES]}",
        )

    def prefer(self, name: str, *, networks: tuple[str, ...] = SHARED) -> None:
        """Let the server give the shared LAN to this box whenever it can carry it."""
        client = self.lab.coordination.client
        client.change_node(self.lab.boxes[name].name, NodeRequest(prefer_routes=networks))

    def await_primary(self, name: str) -> None:
        wait_for(
            lambda: self.primary() == name or None,
            seconds=RECOVERY,
            otherwise=lambda: f"box-{name} does not get the LAN: {[self.node(n) for n in BOXES]}",
        )

    # --- ways to fail; each returns what undoes it -------------------------------------
    def kill_process(self, name: str) -> Callable[[], None]:
        """Kill the daemon and the data plane's program, as running out of memory would."""
        box = self.lab.boxes[name]
        _kill(box, wireguard=True)
        return lambda: _start(box)

    def kill_box(self, name: str) -> Callable[[], None]:
        """Let the box lose its power: nothing comes out of it any more, not even a farewell."""
        box = self.lab.boxes[name]
        plug_wan, plug_lan = self.cut_wan(name), self.pull_lan(name)
        _kill(box, wireguard=True)

        def power_up() -> None:
            plug_wan()
            plug_lan()
            _start(box)

        return power_up

    def cut_wan(self, name: str) -> Callable[[], None]:
        """Let the provider lose every packet, silently."""
        site, internet = self.lab.boxes[name].site, self.lab.topology.internet
        table, link = f"cut_{name}", f"site-{site.number}"
        internet.nft(
            f"table inet {table} {{"
            f' chain out {{ type filter hook forward priority -5; oifname "{link}" drop;'
            f' iifname "{link}" drop; }};'
            f' chain here {{ type filter hook input priority -5; iifname "{link}" drop; }}; }}'
        )
        return lambda: internet.nft(f"delete table inet {table}\n")

    def pull_lan(self, name: str) -> Callable[[], None]:
        """Pull the cable between the box and the shared LAN."""
        self.printer.ip(f"link set port-{name} down")
        return lambda: self.printer.ip(f"link set port-{name} up")

    @property
    def ways(self) -> dict[str, Callable[[str], Callable[[], None]]]:
        """The ways to fail, by their names."""
        return {
            "process": self.kill_process,
            "box": self.kill_box,
            "WAN": self.cut_wan,
            "LAN cable": self.pull_lan,
        }


@contextmanager
def rivals(*, say: Say = lambda _text: None) -> Generator[Rivals]:
    """Have two boxes with one LAN in a mesh, for the length of a block."""
    nats = {"a": Nat.NONE, "b": Nat.NONE, "c": Nat.NONE, "d": Nat.PORT_RESTRICTED}
    with bring_up(nats, say=say, masquerade=True) as lab:
        say("plugging box-b and box-c into one LAN, which both offer")
        (printer,) = lab.owner.add("printer")
        printer.ip(
            "link add lan type bridge", "link set lan up",
            f"address add {PRINTER}/24 dev lan", "address add fd77::9/64 dev lan",
        )  # fmt: skip
        for number, name in enumerate(BOXES, start=1):
            _plug_in(printer, lab.boxes[name], number)
        found = Rivals(lab, printer)
        for name in BOXES:
            _offer(found, name)
        found.await_whole()
        host = lab.topology.site("d").host
        wait_for(
            lambda: host.attempt("ping", "-c1", "-W1", PRINTER).returncode == 0 or None,
            seconds=RECOVERY,
            otherwise=lambda: f"{host.name} does not reach the printer:\n{lab.log_tails()}",
        )
        yield found


def _plug_in(printer: Machine, box: Box, number: int) -> None:
    machine = box.site.box
    connect(printer, f"port-{box.site.name}", machine, "shared0")
    printer.ip(f"link set port-{box.site.name} master lan")
    machine.ip(
        f"address add 10.77.0.{number}/24 dev shared0", f"address add fd77::{number}/64 dev shared0"
    )


def _offer(found: Rivals, name: str) -> None:
    box = found.lab.boxes[name]
    networks = (str(box.site.lan_v4), str(box.site.lan_v6), *SHARED)
    box.client.change_settings(UpRequest(advertise_routes=networks))
    found.lab.coordination.client.change_node(box.name, NodeRequest(approved_routes=networks))


def _kill(box: Box, *, wireguard: bool) -> None:
    box.daemon.signal("KILL")
    if wireguard:
        box.site.box.attempt("pkill", "-KILL", "-x", "wireguard-go")


def _start(box: Box) -> None:
    box.daemon.start()
    box.await_answer()


def wall_clock() -> float:
    """Return seconds since 1970, as ping tells them."""
    return datetime.now(UTC).timestamp()


# --- what a host feels -----------------------------------------------------------------


@contextmanager
def pings(machine: Machine, log: Path) -> Generator[Callable[[], list[tuple[float, int]]]]:
    """Ping the printer for the length of a block; yield what reads (moment, sequence) of replies.

    The moments are those of the system's clock, at which a reply came.
    """
    with log.open("w") as output:
        process = machine.start("ping", "-n", "-D", "-i", str(INTERVAL), PRINTER, output=output)
    try:
        yield lambda: [(float(t), int(n)) for t, n in _REPLY.findall(log.read_text())]
    finally:
        machine.attempt("pkill", "-INT", "-x", "ping")
        process.wait(timeout=5)


def longest_silence(replies: list[tuple[float, int]], since: float) -> float | None:
    """Return the longest time without a reply from shortly before `since` on; None: it lasts."""
    moments = [t for t, _ in replies if t >= since - 1.0]
    if not moments or wall_clock() - moments[-1] > 10 * INTERVAL:
        return None
    return max((b - a for a, b in pairwise(moments)), default=0.0)


def silence_of(
    found: Rivals, way: str, name: str, log: Path, *, limit: float = 30.0
) -> tuple[float, Callable[[], None]]:
    """Let a box fail in one of the ways; return how long a host felt it, and what undoes it.

    Raise LabError if the printer is not back after `limit` seconds.
    """
    with pings(found.lab.topology.site("d").host, log) as read:
        time.sleep(1.5)
        began = wall_clock()
        undo = found.ways[way](name)
        return await_over(read, began, limit), undo


def await_over(read: Callable[[], list[tuple[float, int]]], since: float, limit: float) -> float:
    """Wait until replies come again, and return how long none came; raise LabError at `limit`."""
    end = wall_clock() + limit
    while wall_clock() < end:
        time.sleep(0.25)
        silence = longest_silence(read(), since)
        if wall_clock() - since > 1.0 and silence is not None:
            return silence
    raise LabError(f"the printer is silent for more than {limit:g} s")
