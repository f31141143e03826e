"""Boxes behind each pair of NATs get the best path that the pair allows.

All cells run in one lab before the first of these tests; each is then judged
by itself. With `-s` (as `./test nat` has it) every cell prints a line.
GATEPOST_CELLS="none - symmetric; symmetric - symmetric, relay" takes these only,
for machines on which all would take hours.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator

import pytest

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import carry_ipv6, nat_lab, offer_relay
from gatepost.testing.nat_matrix import (
    Cell,
    Outcome,
    by_family,
    cells,
    expected_path,
    line,
    needed_sites,
    run_cells,
    with_relay,
)
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(900)]

WANTED = {name.strip() for name in os.environ.get("GATEPOST_CELLS", "").split(";") if name.strip()}
CELLS = [cell for cell in cells() if not WANTED or cell.name in WANTED]
RELAYED = [cell for cell in with_relay(cells()) if not WANTED or cell.name in WANTED]
FIRST_ANSWER = 2.0  # seconds; DERP carries the first packet at once, so this is handshake time
MEDIAN_DIRECT = 2.0  # seconds from the first packet to a direct path
LONGEST_DIRECT = 6.0  # seconds; a cell may need a second round of pings
LOSS = 0.005  # of all streams, which run from before there is any path
WORST_LOSS = 0.03  # of one stream: 25 boxes on two processors lose some by themselves


def tell(outcome: Outcome) -> None:
    print(line(outcome), flush=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with nat_lab(needed_sites((*CELLS, *RELAYED))) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[Cell, Outcome]:
    before, after = by_family(CELLS)
    print()
    found = run_cells(lab, before, tell)
    if RELAYED:
        offer_relay(lab)
        found |= run_cells(lab, RELAYED, tell)
    if after:
        carry_ipv6(lab)
        found |= run_cells(lab, after, tell)
    return found


@pytest.mark.parametrize("cell", [*CELLS, *RELAYED], ids=lambda cell: cell.name)
def test_a_pair_gets_the_path_that_its_nats_allow(
    outcomes: dict[Cell, Outcome], cell: Cell
) -> None:
    outcome = outcomes[cell]

    assert (outcome.path, outcome.back) == (expected_path(cell),) * 2


@pytest.mark.parametrize("cell", [*CELLS, *RELAYED], ids=lambda cell: cell.name)
def test_a_pair_talks_at_once_and_loses_next_to_nothing_on_the_way_to_its_path(
    outcomes: dict[Cell, Outcome], cell: Cell
) -> None:
    flow = outcomes[cell].flow

    assert flow.first is not None
    assert flow.first < patient(FIRST_ANSWER)
    assert flow.loss <= WORST_LOSS


def test_direct_paths_are_found_within_two_seconds_of_the_first_packet(
    outcomes: dict[Cell, Outcome],
) -> None:
    times = [o.after for o in outcomes.values() if o.path == "direct" and o.after is not None]

    assert statistics.median(times) < patient(MEDIAN_DIRECT)
    assert max(times) < patient(LONGEST_DIRECT)


def test_changes_of_path_lose_next_to_nothing(outcomes: dict[Cell, Outcome]) -> None:
    flows = [outcome.flow for outcome in outcomes.values()]

    assert sum(flow.lost for flow in flows) <= LOSS * sum(flow.sent for flow in flows)


def test_every_cell_that_was_asked_for_is_there() -> None:
    assert {cell.name for cell in (*CELLS, *RELAYED)} >= WANTED


def test_every_pair_of_kinds_is_a_cell_once() -> None:
    pairs = [frozenset((cell.one, cell.other)) for cell in cells()]

    assert len(pairs) == len(set(pairs)) == len(Nat) * (len(Nat) + 1) // 2
