"""One session: what it says, and what it makes of what it hears."""

from __future__ import annotations

import dataclasses

import pytest
from tests.sessions.paths_makers import (
    DISCO,
    FAR,
    HERE,
    HOME,
    NEAR,
    NOW,
    PEER,
    PING,
    answer,
    counters,
    make_session,
    make_state,
    pings,
    seek,
    state,
)
from tests.sessions.paths_world import (
    DATA,
    INITIATION,
    REGION,
    make_disco,
    make_endpoint,
    make_facts,
    make_key,
)

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_choice import is_better
from gatepost.sessions.paths_handshake import Handshake
from gatepost.sessions.paths_numbers import (
    POLL_IDLE,
    POLL_WATCHED,
)
from gatepost.sessions.paths_outputs import (
    Answered,
    ByDerp,
    ByUdp,
    Carry,
    Counters,
    Moved,
    PeerFacts,
    Refresh,
    Send,
)
from gatepost.sessions.paths_peer import DERP_ADDRESS, State
from gatepost.wire.disco import CallMeMaybe, Pong


def test_traffic_starts_by_derp_with_pings_and_a_call_at_once() -> None:
    session = make_session()

    outputs = seek(session)
    assert Carry(HOME, DATA) in outputs
    assert Send(DISCO, HOME, CallMeMaybe((HERE,))) in outputs
    assert pings(outputs).keys() == {NEAR}


def test_a_peer_without_disco_is_reached_by_derp_alone() -> None:
    session = make_session(PeerFacts(key=PEER, endpoints=(NEAR,), home=REGION))

    assert seek(session) == [Carry(HOME, DATA)]


def test_a_peer_without_home_is_answered_where_it_wrote_from() -> None:
    session = make_session(make_facts(2, home=0))
    before = seek(session)
    session.on_derp_packet(7, PEER, DATA, NOW)
    session.take()
    after = seek(session)
    session.on_derp_gone(7, PEER)

    assert before == []
    assert Carry(ByDerp(7, PEER), DATA) in after
    assert seek(session) == []


def test_old_addresses_are_told_and_asked_for_again() -> None:
    session = make_session()

    assert Refresh() in seek(session, NOW + 60)


def test_new_addresses_are_told_to_who_is_looking_for_a_path() -> None:
    session = make_session()
    seek(session)
    session.set_own_endpoints((HERE, FAR), NOW, fresh=True)
    told = session.take()
    session.set_own_endpoints((HERE, FAR), NOW, fresh=True)

    assert told == [Send(DISCO, HOME, CallMeMaybe((HERE, FAR)))]
    assert session.take() == []


def test_a_ping_is_answered_once_by_the_way_it_came() -> None:
    session = make_session()
    session.on_disco(DISCO, PING, HOME, NOW)
    session.on_disco(DISCO, PING, ByUdp(NEAR), NOW)

    pong = Pong(PING.transaction, Endpoint(DERP_ADDRESS, REGION))
    assert session.take() == [Send(DISCO, HOME, pong)]


def test_a_ping_from_a_new_address_is_answered_and_pinged_back() -> None:
    session = make_session()
    session.on_disco(DISCO, PING, ByUdp(FAR), NOW)
    outputs = session.take()

    assert outputs[0] == Send(DISCO, ByUdp(FAR), Pong(PING.transaction, FAR))
    assert pings(outputs).keys() == {FAR}


def test_a_node_that_shares_its_disco_key_is_told_apart_by_its_node_key() -> None:
    other = PeerFacts(key=make_key(3), disco=DISCO, endpoints=(FAR,), home=REGION)
    session = make_session(make_facts(2, "198.51.100.2"), other)
    session.on_outbound(make_key(3), DATA, NOW)
    answer(session, FAR, session.take(), NOW + 0.01)

    third = session.peer(make_key(3))
    assert third
    assert third.direct == ByUdp(FAR)
    assert state(session, NOW + 0.01) is State.IDLE


def test_the_peer_is_probed_for_who_waits() -> None:
    session, now = make_state(State.DIRECT)
    transaction = session.probe(PEER, now)
    assert transaction
    session.take()
    session.on_disco(DISCO, Pong(transaction, HERE), ByUdp(NEAR), now + 0.25)

    assert session.take() == [Answered(transaction, 0.25, ByUdp(NEAR))]


def test_wireguard_that_roamed_is_called_back_or_followed() -> None:
    session, now = make_state(State.DIRECT)
    roamed = [Counters(key=PEER, endpoint=FAR, received=5, sent=5)]
    session.on_counters(roamed, now)
    asked = session.take()
    session.on_counters(roamed, now + 5)
    called_back = session.take()
    followed = answer(session, FAR, asked, now + 0.02)

    assert [type(o) for o in asked] == [Send]
    assert Moved(PEER, ByUdp(NEAR)) in called_back
    assert followed == []  # 203.0.113.2 is no better
    session.on_counters(roamed, now + 5)
    assert Moved(PEER, ByUdp(FAR)) in session.take()


def test_following_wireguard_does_not_prolong_what_a_pong_proved() -> None:
    session, now = make_state(State.DIRECT)
    roamed = [Counters(key=PEER, endpoint=FAR, received=5, sent=5)]
    session.on_counters(roamed, now)
    answer(session, FAR, session.take(), now + 0.02)
    session.on_counters([Counters(key=PEER, endpoint=NEAR, received=6, sent=6)], now + 6)
    session.on_timer(now + 6.6)

    assert state(session, now + 6.6) is State.SEEKING


def test_roaming_while_derp_carries_is_undone_and_looked_into() -> None:
    session, now = make_state(State.SEEKING)
    session.take()
    session.on_counters([Counters(key=PEER, endpoint=FAR, received=0, sent=0)], now)
    outputs = session.take()

    assert Moved(PEER, None) in outputs
    assert pings(outputs).keys() == {FAR}


def test_received_octets_keep_a_path_whose_daemon_is_silent_but_not_one_that_is_cut() -> None:
    kept, now = make_state(State.DIRECT)
    cut, _ = make_state(State.DIRECT)
    for second in range(1, 16):
        at = now + second
        counters(kept, at, 100 * second)
        counters(cut, at, 100 * min(second, 2))
        kept.on_timer(at)
        cut.on_timer(at)

    assert state(kept, now + 15) is State.DIRECT
    assert state(cut, now + 15) is State.SEEKING


def test_an_endpoint_in_use_is_taken_over_and_checked() -> None:
    session = make_session()
    session.adopt({PEER: FAR}, NOW)
    outputs = session.take()

    assert state(session, NOW) is State.DIRECT
    assert pings(outputs).keys() == {FAR}
    assert not [o for o in outputs if isinstance(o, Moved)]
    session.on_timer(NOW + 7)
    assert Moved(PEER, None) in session.take()


def test_counters_are_read_often_only_while_somebody_talks() -> None:
    session, now = make_state(State.IDLE)
    idle = session.poll_interval(now)
    seek(session)

    assert idle == POLL_IDLE
    assert session.poll_interval(now) == POLL_WATCHED
    assert session.is_busy(now)
    assert session.poll_interval(now + 60) == POLL_IDLE


def test_a_key_that_a_peer_told_is_used_until_the_netmap_has_another_one() -> None:
    session, told, newest = make_session(), make_disco(20), make_disco(21)
    session.on_disco_key(PEER, told, NOW)
    known = [session.is_known(k) for k in (DISCO, told)]
    session.set_peers((make_facts(2, "203.0.113.2"),), NOW)
    kept = [session.is_known(k) for k in (DISCO, told)]
    session.set_peers((dataclasses.replace(make_facts(2), disco=newest),), NOW)

    assert known == kept == [False, True]
    assert [session.is_known(k) for k in (DISCO, told, newest)] == [False, False, True]


def test_a_peer_that_left_the_netmap_leaves_no_timer() -> None:
    session, _ = make_state(State.DIRECT)
    session.set_peers((), NOW)

    assert session.next_timer() is None
    assert session.peer(PEER) is None
    assert not session.is_known(DISCO)


def test_a_thousand_silent_peers_have_no_timer() -> None:
    peers = tuple(make_facts(n, "198.51.100.2") for n in range(2, 1002))

    assert make_session(*peers).next_timer() is None


def test_an_initiation_is_repeated_until_it_is_heard() -> None:
    handshake = Handshake()
    handshake.on_outbound(INITIATION, NOW)
    repeated = [at for n in range(100) if handshake.due(at := NOW + n / 20)]
    handshake.on_outbound(INITIATION, NOW)
    handshake.on_inbound(DATA)

    assert 3 <= len(repeated) <= 5
    assert handshake.timer is None
    assert handshake.due(NOW + 9) is None


@pytest.mark.parametrize(
    ("candidate", "latency", "best", "best_latency", "moves"),
    [
        ("198.51.100.2", 0.010, "203.0.113.2", 0.020, True),
        ("198.51.100.2", 0.020, "203.0.113.2", 0.010, False),
        ("198.51.100.2", 0.0199, "203.0.113.2", 0.020, False),  # under 1 %
        ("2001:db8::2", 0.020, "203.0.113.2", 0.020, True),
        ("2001:db8::2", 0.020, "203.0.113.2", 0.017, False),  # 15 % is more than 10
        ("192.168.1.2", 0.011, "203.0.113.2", 0.010, True),
        ("192.168.1.2", 0.020, "203.0.113.2", 0.010, False),
        ("127.0.0.1", 0.011, "192.168.1.2", 0.010, True),
        ("fe80::2", 0.010, "fd00::2", 0.010, True),
        ("203.0.113.2", 0.001, "203.0.113.2", 0.010, False),
        ("198.51.100.2", 0.0, "203.0.113.2", 0.0, False),
    ],
)
def test_the_better_address_is_the_faster_one_with_a_bonus_for_what_it_is(
    candidate: str, latency: float, best: str, best_latency: float, *, moves: bool
) -> None:
    ends = make_endpoint(candidate), make_endpoint(best)

    assert is_better(ends[0], latency, ends[1], best_latency) is moves
