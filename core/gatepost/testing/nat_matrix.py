"""The matrix: which path do boxes behind each pair of NATs get, how soon, and at what loss.

Every kind of NAT has two sites, so that each pair of kinds is a pair of boxes
that have never talked before. One bring-up serves all cells. Those with IPv6
only are for the end, after all sites have got it: a box with IPv6 only and one
with IPv4 only have nothing in common but a relay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import BEHAVIOUR, Filtering, Mapping, Nat
from gatepost.testing.nat_lab import mesh_v4, path_to
from gatepost.testing.nat_stream import Flow, now, start_stream
from gatepost.testing.netns import patient

STREAM = 8.0  # seconds
LOOK = 0.1  # seconds between two looks at the path
AT_ONCE = 5  # cells that run side by side
_CODES = {
    Nat.NONE: "open",
    Nat.ENDPOINT_INDEPENDENT: "ei",
    Nat.ADDRESS_RESTRICTED: "ar",
    Nat.PORT_RESTRICTED: "pr",
    Nat.SYMMETRIC: "sym",
    Nat.DOUBLE: "double",
    Nat.UDP_BLOCKED: "noudp",
    Nat.IPV6_ONLY: "v6",
    Nat.PORT_MAPPING: "map",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of kinds of NAT; `one` sends first. `relay`: while the hub relays between peers.

    Cells with a relay have sites of their own: who looked for a relay in vain
    looks again half a minute later.
    """

    one: Nat
    other: Nat
    relay: bool = False

    @property
    def name(self) -> str:
        return f"{self.one.value} - {self.other.value}{', relay' if self.relay else ''}"

    @property
    def sites(self) -> tuple[str, str]:
        numbers = (3, 4) if self.relay else (1, 2)
        return f"{_CODES[self.one]}{numbers[0]}", f"{_CODES[self.other]}{numbers[1]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell came to. `path` is the one at the end, as the sender sees it.

    `after` is the seconds from the first packet to that path, `back` the path
    that the other box uses.
    """

    cell: Cell
    path: str
    via: str
    back: str
    after: float | None
    flow: Flow


def cells(nats: Sequence[Nat] = tuple(Nat)) -> tuple[Cell, ...]:
    """Return each pair once."""
    return tuple(Cell(one, other) for one, other in combinations_with_replacement(nats, 2))


def needed_sites(wanted: Iterable[Cell]) -> dict[str, Nat]:
    """Return the sites that these cells need, by name."""
    sites: dict[str, Nat] = {}
    for cell in wanted:
        sites[cell.sites[0]] = cell.one
        sites[cell.sites[1]] = cell.other
    return sites


def with_relay(wanted: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells that a peer relay makes better, to be tried with one."""
    relayed = (Cell(cell.one, cell.other, relay=True) for cell in wanted)
    return tuple(cell for cell in relayed if expected_path(cell) == "relay")


def expected_path(cell: Cell) -> str:
    """Return the path that two boxes behind these NATs must get.

    Direct wherever NATs allow it: a symmetric NAT's port for the other box is
    known to that box only from a packet, so its NAT must let in packets from a
    port that nobody has sent to. A mapped port lets in everybody's.
    """
    kinds = {cell.one, cell.other}
    if Nat.UDP_BLOCKED in kinds:
        return "derp"
    if Nat.IPV6_ONLY in kinds or Nat.PORT_MAPPING in kinds or Nat.NONE in kinds:
        return "direct"
    hard = [
        nat for nat in (cell.one, cell.other) if _mapping(nat) is not Mapping.ENDPOINT_INDEPENDENT
    ]
    strict = [nat for nat in (cell.one, cell.other) if nat not in hard and _is_strict(nat)]
    if len(hard) == 2 or (hard and strict):  # noqa: PLR2004  # both
        return "relay" if cell.relay else "derp"
    return "direct"


def _mapping(nat: Nat) -> Mapping | None:
    behaviour = BEHAVIOUR[nat]
    return behaviour.mapping if behaviour else None


def _is_strict(nat: Nat) -> bool:
    behaviour = BEHAVIOUR[nat]
    return behaviour is not None and behaviour.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT


def by_family(wanted: Iterable[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Return the cells to run before the sites have IPv6, and those to run after that."""
    cells_v4, cells_v6 = list[Cell](), list[Cell]()
    for cell in wanted:
        (cells_v6 if Nat.IPV6_ONLY in {cell.one, cell.other} else cells_v4).append(cell)
    return cells_v4, cells_v6


def run_cells(
    lab: Lab, wanted: Sequence[Cell], tell: Callable[[Outcome], None]
) -> dict[Cell, Outcome]:
    """Run cells in a lab that has their sites, several side by side."""
    found: dict[Cell, Outcome] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(partial(run_cell, lab), wanted):
            found[outcome.cell] = outcome
            tell(outcome)
    return found


def run_cell(lab: Lab, cell: Cell, seconds: float = STREAM) -> Outcome:
    """Send a stream between two boxes and watch the path that it takes."""
    one, other = (lab.boxes[name] for name in cell.sites)
    address = mesh_v4(other)
    seconds = patient(seconds)
    stream = start_stream(one.site.box, address, seconds)
    changes: list[tuple[str, str, float]] = []
    while now() < stream.started + seconds:
        path, via = path_to(one.client.status(), other.name)
        if not changes or changes[-1][0] != path:
            changes.append((path, via, now()))
        time.sleep(LOOK)
    flow = stream.finish()
    path, via, at = changes[-1]
    back = path_to(other.client.status(), one.name)[0]
    return Outcome(cell, path, via, back, at - flow.began, flow)


def line(outcome: Outcome) -> str:
    """Say a cell in one line."""
    flow, expected = outcome.flow, expected_path(outcome.cell)
    first = f"{flow.first * 1000:5.0f} ms" if flow.first is not None else "   never"
    verdict = "" if {outcome.path, outcome.back} == {expected} else f"  EXPECTED {expected}"
    after = f"{outcome.after:5.2f} s" if outcome.after is not None else "      -"
    return (
        f"{outcome.cell.name:<42} {outcome.path:<7}{outcome.back:<7} {after}"
        f"  first answer {first}  lost {flow.lost}/{flow.sent} ({flow.loss:.1%})"
        f"  {outcome.via}{verdict}"
    )
