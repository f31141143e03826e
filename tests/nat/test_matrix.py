"""Boxes behind each pair of NATs get the best path that the pair allows.

All cells run in one lab before the first of these tests; each is then judged
by itself. With `-s` (as `./test nat` has it) every cell prints a line.
GATEPOST_NATS="port restricted, symmetric" takes the pairs of these only, for
machines on which all would take hours.
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

WANTED = [name.strip() for name in os.environ.get("GATEPOST_NATS", "").split(",") if name.strip()]
NATS = [nat for nat in Nat if not WANTED or nat.value in WANTED]
CELLS = cells(NATS)
RELAYED = with_relay(CELLS)
FIRST_ANSWER = 2.0  # seconds; DERP carries the first packet at once, so this is handshake time
MEDIAN_DIRECT = 2.0  # seconds from the first packet to a direct path
LONGEST_DIRECT = 6.0  # seconds; a cell may need a second round of pings
LOSS = 0.01  # of a stream that runs from before there is any path


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
def test_a_pair_talks_at_once_and_loses_nothing_on_the_way_to_its_path(
    outcomes: dict[Cell, Outcome], cell: Cell
) -> None:
    flow = outcomes[cell].flow

    assert flow.first is not None
    assert flow.first < patient(FIRST_ANSWER)
    assert flow.loss <= LOSS


def test_direct_paths_are_found_within_two_seconds_of_the_first_packet(
    outcomes: dict[Cell, Outcome],
) -> None:
    times = [o.after for o in outcomes.values() if o.path == "direct" and o.after is not None]

    assert statistics.median(times) < patient(MEDIAN_DIRECT)
    assert max(times) < patient(LONGEST_DIRECT)


def test_every_pair_of_kinds_is_a_cell_once() -> None:
    pairs = [frozenset((cell.one, cell.other)) for cell in CELLS]

    assert len(pairs) == len(set(pairs)) == len(NATS) * (len(NATS) + 1) // 2
