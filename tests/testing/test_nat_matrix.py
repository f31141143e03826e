"""What the matrix expects of each pair of NATs, and how a stream is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatepost.testing.nat import Nat
from gatepost.testing.nat_matrix import (
    Cell,
    Outcome,
    cells,
    expected_path,
    line,
    needed_sites,
    with_relay,
)
from gatepost.testing.nat_stream import Flow, read_flow
from gatepost.testing.netns import LabError

STRICT = (Nat.PORT_RESTRICTED, Nat.DOUBLE)
# Two pings were answered, the second of four was lost, the last came too late.
SAID = """\
PING 100.64.0.2 (100.64.0.2) 56(84) bytes of data.
[1000.500000] 64 bytes from 100.64.0.2: icmp_seq=1 ttl=64 time=300 ms
[1000.260000] 64 bytes from 100.64.0.2: icmp_seq=3 ttl=64 time=20.0 ms

--- 100.64.0.2 ping statistics ---
4 packets transmitted, 2 received, 50% packet loss, time 60ms
"""


def test_no_direct_path_is_expected_where_both_are_hard_or_one_is_and_the_other_strict() -> None:
    relayed = {cell for cell in cells() if expected_path(cell) == "derp"}
    hard = {Cell(Nat.SYMMETRIC, Nat.SYMMETRIC), Cell(Nat.SYMMETRIC, Nat.DOUBLE)}
    hard.add(Cell(Nat.PORT_RESTRICTED, Nat.SYMMETRIC))
    blocked = {cell for cell in cells() if Nat.UDP_BLOCKED in {cell.one, cell.other}}

    assert relayed == hard | blocked


def test_a_peer_relay_is_expected_where_udp_gets_through_and_nothing_direct_does() -> None:
    assert set(with_relay(cells())) == {
        Cell(Nat.SYMMETRIC, Nat.SYMMETRIC, relay=True),
        Cell(Nat.SYMMETRIC, Nat.DOUBLE, relay=True),
        Cell(Nat.PORT_RESTRICTED, Nat.SYMMETRIC, relay=True),
    }


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.name)
def test_the_order_of_a_pair_makes_no_difference(cell: Cell) -> None:
    assert expected_path(cell) == expected_path(Cell(cell.other, cell.one))


def test_each_kind_needs_two_sites_at_most() -> None:
    sites = needed_sites(cells())

    assert len(sites) == 2 * len(Nat)
    assert needed_sites([Cell(Nat.NONE, Nat.SYMMETRIC)]) == {
        "open1": Nat.NONE,
        "sym2": Nat.SYMMETRIC,
    }


def test_a_stream_is_read_from_what_ping_prints() -> None:
    flow = read_flow(SAID, started=1000.1)

    assert (flow.sent, flow.lost, flow.loss) == (4, 2, 0.5)
    assert flow.answered == ((3, 1000.26), (1, 1000.5))  # in order of time
    assert flow.began == pytest.approx(1000.2)
    assert flow.first == pytest.approx(0.06)


def test_silence_is_the_longest_time_without_an_answer() -> None:
    flow = Flow(5, ((1, 10.0), (2, 10.1), (3, 15.1), (4, 15.2)), 10.0)

    assert flow.silence() == pytest.approx(10.0)  # before the first
    assert flow.silence(10.05) == pytest.approx(5.0)
    assert Flow(5, (), 0.0).loss == 1.0


def test_a_ping_that_says_nothing_is_an_error_with_its_words() -> None:
    with pytest.raises(LabError, match="Network is unreachable"):
        read_flow("connect: Network is unreachable\n", 0.0)


def test_a_cell_that_differs_says_what_was_expected() -> None:
    flow = Flow(100, ((1, 10.02),), 10.0)
    outcome = Outcome(Cell(Nat.NONE, Nat.NONE), "derp", "lab", "direct", 0.1, flow)

    assert line(outcome).endswith("EXPECTED direct")
    assert "EXPECTED" not in line(replace(outcome, path="direct"))
