"""A peer that wants something of us, and whose packets our new WireGuard cannot read."""

from __future__ import annotations

from tests.sessions.paths_makers import DISCO, NEAR, NOW, PEER, make_session

from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_numbers import GREETED, GREETED_AFTER, POLL_OVERDUE, WATCHED
from gatepost.sessions.paths_outputs import ByUdp, Counters
from gatepost.wire.disco import Ping

LATER = NOW + GREETED_AFTER + 0.1


def pinged(session: Paths, now: float, number: int = 1) -> None:
    ping = Ping(number.to_bytes(12, "big"), PEER, 0)
    session.on_disco(DISCO, ping, ByUdp(NEAR), now)


def read(session: Paths, now: float, received: int) -> None:
    session.on_counters([Counters(key=PEER, endpoint=None, received=received, sent=0)], now)


def is_unheard(session: Paths, now: float) -> bool:
    peer = session.peer(PEER)
    assert peer
    return peer.is_unheard(now)


def test_nobody_is_greeted_who_wants_nothing() -> None:
    assert not is_unheard(make_session(), LATER)


def test_who_pings_and_sends_nothing_is_greeted_soon_and_not_at_once() -> None:
    session = make_session()
    pinged(session, NOW)

    assert [is_unheard(session, t) for t in (NOW, LATER)] == [False, True]
    assert session.poll_interval(LATER) == POLL_OVERDUE


def test_who_is_heard_through_the_tunnel_is_greeted_no_more() -> None:
    session = make_session()
    pinged(session, NOW)
    read(session, LATER, received=148)

    assert not is_unheard(session, LATER)


def test_who_cannot_be_heard_is_greeted_for_a_while_only() -> None:
    """Reading all counters each second would cost a machine with many such peers too much."""
    session, now, number = make_session(), NOW, 0
    while now < NOW + GREETED + 3 * WATCHED:
        number += 1
        pinged(session, now, number)
        now += WATCHED / 3

    assert not is_unheard(session, now)


def test_a_device_that_is_made_anew_greets_who_is_still_there() -> None:
    session = make_session()
    read(session, NOW - WATCHED, received=5000)
    pinged(session, NOW)
    read(session, NOW + 30.0, received=0)

    assert is_unheard(session, NOW + 30.0 + GREETED_AFTER)
