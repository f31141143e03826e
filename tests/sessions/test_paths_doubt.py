"""A path in doubt: both ways out, and what still comes by it."""

from __future__ import annotations

from tests.sessions.paths_makers import (
    DISCO,
    HOME,
    NEAR,
    PEER,
    PLACE,
    answer,
    make_state,
    state,
)
from tests.sessions.paths_world import DATA

from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import ByDerp, ByUdp, Carry, Counters, Hold, Moved
from gatepost.sessions.paths_peer import State
from gatepost.wire.disco import Ping


def test_in_doubt_every_packet_leaves_both_ways_until_the_path_answers() -> None:
    session, now = make_state(State.DIRECT)
    for tenth in range(45):
        session.on_timer(now + tenth / 10)
    doubtful = session.take()
    at = now + 4.4
    session.on_outbound(PEER, DATA, at)
    both = session.take()
    again = answer(session, NEAR, doubtful, at)

    assert doubtful.count(Moved(PEER, None)) == 1
    assert [o for o in both if isinstance(o, Carry)] == [
        Carry(ByUdp(NEAR), DATA),
        Carry(ByDerp(HOME.region, PEER), DATA),
    ]
    assert Moved(PEER, ByUdp(NEAR)) in again
    assert state(session, at) is State.DIRECT


def test_no_doubt_while_the_device_receives_by_the_path() -> None:
    session, now = make_state(State.DIRECT)
    for second in range(1, 9):
        at = now + second
        session.on_counters([Counters(key=PEER, endpoint=NEAR, received=second, sent=0)], at)
        session.on_timer(at)

    assert not [o for o in session.take() if isinstance(o, Moved)]


def in_doubt() -> tuple[Paths, float]:
    """Return a session whose direct path has just come into doubt."""
    session, now = make_state(State.DIRECT)
    session.on_disco(DISCO, Ping(b"it-is-alive!", PEER), ByUdp(NEAR), now + 2.0)
    for tenth in range(42):
        session.on_timer(now + tenth / 10)
    session.take()
    return session, now + 4.2


def test_a_peer_whose_packets_come_and_who_does_not_answer_is_heard_in_user_space() -> None:
    session, now = in_doubt()
    session.on_counters([Counters(key=PEER, endpoint=NEAR, received=9, sent=9)], now)
    outputs = session.take()
    peer = session.on_held(PEER, NEAR, DATA, now + 0.1)

    assert Hold(PEER, NEAR) in outputs
    assert Moved(PEER, None) in outputs
    assert peer
    assert peer.path is None
    assert session.take() == []


def test_packets_that_are_held_do_not_prolong_a_trust_that_no_pong_renews() -> None:
    session, now = in_doubt()
    session.on_counters([Counters(key=PEER, endpoint=NEAR, received=9, sent=9)], now)
    for tenth in range(40):
        at = now + tenth / 10
        if tenth % 20 == 0:
            ping = Ping(f"still-alive{tenth}".encode(), PEER)
            session.on_disco(DISCO, ping, ByUdp(NEAR), at)
        session.on_held(PEER, NEAR, DATA, at)
        session.on_timer(at)

    assert state(session, now + 4.0) is State.SEEKING


def test_a_peer_of_which_only_wireguard_is_left_is_believed() -> None:
    session, now = make_state(State.DIRECT)
    for tenth in range(80):
        at = now + tenth / 10
        session.on_timer(at)
        if tenth % 10 == 0:
            session.on_counters([Counters(key=PEER, endpoint=NEAR, received=tenth, sent=1)], at)

    outputs = session.take()
    assert not [o for o in outputs if isinstance(o, Hold)]
    assert state(session, now + 8.0) is State.DIRECT


def test_a_peer_behind_a_relay_of_which_only_wireguard_is_left_is_believed() -> None:
    """Its packets come from what stands for the relay's place, never from the relay's address."""
    session, now = make_state(State.RELAYED)
    doubts = 0
    for tenth in range(200):
        at = now + tenth / 10
        session.on_timer(at)
        peer = session.peer(PEER)
        assert peer
        assert PLACE.endpoint
        if peer.path is None:  # in doubt: what comes is kept from WireGuard
            doubts += 1
            session.on_held(PEER, PLACE.endpoint, DATA, at)
        elif doubts and tenth % 10 == 0:
            reading = Counters(key=PEER, endpoint=PLACE.endpoint, received=tenth, sent=1)
            session.on_counters([reading], at)

    assert 0 < doubts < 10
    assert state(session, now + 20.0) is State.RELAYED


def test_what_is_held_is_let_go_when_the_path_answers() -> None:
    session, now = in_doubt()
    session.on_counters([Counters(key=PEER, endpoint=NEAR, received=9, sent=9)], now)
    session.on_timer(now + 0.3)
    outputs = answer(session, NEAR, session.take(), now + 0.32)

    assert Hold(PEER, None) in outputs
    assert Moved(PEER, ByUdp(NEAR)) in outputs


def test_what_is_held_is_let_go_when_nobody_talks_any_more() -> None:
    session, now = in_doubt()
    session.on_counters([Counters(key=PEER, endpoint=NEAR, received=9, sent=9)], now)
    session.take()
    session.on_counters([Counters(key=PEER, endpoint=None, received=9, sent=9)], now + 60)

    assert Hold(PEER, None) in session.take()
