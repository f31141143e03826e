"""Two boxes carry one LAN: whichever way one of them fails, the other takes over in seconds.

A host at another site pings a printer twenty times a second while the box that carries the
printer's LAN loses its uplink, its LAN cable, its programs, or its power. Nobody tells the
coordination server: it has the box pinged through the tunnel by others. A preferred box
gets the LAN back, and between two boxes without cables no packet goes round.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from gatepost.model import owned
from gatepost.testing.lab_rivals import (
    BOXES,
    PRINTER,
    Rivals,
    longest_silence,
    pings,
    rivals,
    silence_of,
    wall_clock,
)
from gatepost.testing.scenes import Row, Tell, at_most, expect

LIMIT = 5.0  # seconds
HAND_OVER = 1.0  # seconds
PINGS = 20  # into two boxes without cables
# Without a loop they send each other little but signs of life; with one, each ping goes
# to and fro until its hops are used up, 64 times.
ROUND_TRIPS = 3 * PINGS


def run(tell: Tell) -> Iterable[Row]:
    with rivals(say=tell) as found:
        yield from _no_loop(found, tell)
        yield from _given_back(found, tell)
        yield from _failures(found, tell)


def _failures(found: Rivals, tell: Tell) -> Iterator[Row]:
    for way in ("LAN cable", "process", "box"):
        found.await_whole()
        primary = found.primary()
        tell(f"box-{primary} carries the LAN and fails: {way}")
        silence, undo = silence_of(found, way, primary, found.lab.directory / "ha.log")
        yield at_most(f"silence after a failure: {way}", LIMIT, silence, "s")
        if way != "box":
            undo()


def _given_back(found: Rivals, tell: Tell) -> Iterator[Row]:
    first = BOXES[0]
    found.prefer(first)
    found.await_primary(first)
    log = found.lab.directory / "ha.log"
    tell(f"box-{first}, which is preferred, loses its uplink and gets it back")
    silence, undo = silence_of(found, "WAN", first, log)
    yield at_most("silence after a failure: WAN", LIMIT, silence, "s")
    yield expect("who carries the LAN meanwhile", f"box-{BOXES[1]}", f"box-{found.primary()}")
    with pings(found.lab.topology.site("d").host, log) as read:
        time.sleep(0.5)
        began = wall_clock()
        undo()
        found.await_primary(first)
        time.sleep(1.5)
        back = longest_silence(read(), began)
    yield expect("who carries it afterwards", f"box-{first}", f"box-{found.primary()}")
    yield at_most("silence when it is given back", HAND_OVER, back or LIMIT, "s")
    found.prefer(first, networks=())


def _no_loop(found: Rivals, tell: Tell) -> Iterator[Row]:
    """Pull both cables: each box now takes the LAN for the other's, and both accept routes."""
    tell("pulling the LAN cable of both boxes")
    undo = [found.pull_lan(name) for name in BOXES]
    before = _sent(found)
    host = found.lab.topology.site("d").host
    host.attempt("ping", "-c", str(PINGS), "-i", "0.1", "-W", "1", PRINTER)
    yield at_most(
        f"packets of both boxes into the tunnel, {PINGS} pings without a way",
        ROUND_TRIPS,
        _sent(found) - before,
        "packets",
    )
    for plug_in in undo:
        plug_in()
    found.await_whole()


def _sent(found: Rivals) -> int:
    statistic = f"/sys/class/net/{owned.DEVICE}/statistics/tx_packets"
    return sum(int(found.lab.boxes[n].site.box.run("cat", statistic)) for n in BOXES)
