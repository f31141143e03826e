"""One session: the rules that an attacker would like broken."""

from __future__ import annotations

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
    make_session,
    make_state,
    pings,
    seek,
    state,
)
from tests.sessions.paths_world import (
    DATA,
    REGION,
    make_disco,
    make_endpoint,
    make_facts,
    make_key,
)

from gatepost.model.keys import DiscoPublic
from gatepost.sessions.paths_candidates import Candidates
from gatepost.sessions.paths_numbers import (
    CALLS_HEEDED,
    CANDIDATES,
    REMEMBERED_PINGS,
)
from gatepost.sessions.paths_outputs import (
    ByDerp,
    ByUdp,
    Counters,
    Send,
)
from gatepost.sessions.paths_peer import State
from gatepost.sessions.paths_report import Origin
from gatepost.wire.disco import CallMeMaybe, Other, Ping, Pong


@pytest.mark.parametrize(
    ("message", "way"),
    [
        (PING, ByDerp(REGION, make_key(3))),
        (Ping(PING.transaction, make_key(3)), ByUdp(NEAR)),
        (CallMeMaybe((FAR,)), ByUdp(NEAR)),
        (CallMeMaybe((FAR,)), ByDerp(REGION, make_key(3))),
        (Pong(b"never sent", HERE), ByUdp(NEAR)),
        (Other(4), ByUdp(NEAR)),
    ],
)
def test_what_the_sender_may_not_say_is_ignored(
    message: Ping | Pong | CallMeMaybe | Other, way: ByUdp | ByDerp
) -> None:
    session = make_session()
    session.on_disco(DISCO, message, way, NOW)

    assert session.take() == []
    assert state(session, NOW) is State.IDLE


def test_a_ping_played_again_from_elsewhere_moves_nothing() -> None:
    session, now = make_state(State.DIRECT)
    session.on_disco(DISCO, PING, ByUdp(NEAR), now)
    for number in range(REMEMBERED_PINGS - 1):
        session.on_disco(DISCO, Ping(number.to_bytes(12, "big"), PEER), ByUdp(NEAR), now)
    session.take()
    session.on_disco(DISCO, PING, ByUdp(FAR), now + 0.1)
    early = session.take()
    session.on_disco(DISCO, Ping(b"one-too-many", PEER), ByUdp(NEAR), now + 0.2)
    session.take()
    session.on_disco(DISCO, PING, ByUdp(FAR), now + 0.3)
    late = session.take()

    assert early == []
    assert not [o for o in late if not isinstance(o, Send)]
    peer = session.peer(PEER)
    assert peer
    assert peer.direct
    assert peer.direct.endpoint == NEAR


def test_a_pong_played_again_from_elsewhere_proves_nothing() -> None:
    session = make_session()
    ping = pings(seek(session))[NEAR]
    pong = Pong(ping.transaction, HERE)
    session.on_disco(DISCO, pong, ByUdp(NEAR), NOW + 0.1)
    session.take()
    session.on_disco(DISCO, pong, ByUdp(FAR), NOW + 0.2)
    session.on_disco(DISCO, pong, ByUdp(NEAR), NOW + 60.0)

    assert session.take() == []
    session.on_timer(NOW + 60.0)
    assert state(session, NOW + 60.0) is not State.DIRECT


def test_strangers_are_ignored_everywhere() -> None:
    session = make_session()
    stranger, key = make_disco(9), make_key(9)
    session.on_disco(stranger, Ping(b"x", key), ByUdp(NEAR), NOW)
    session.on_outbound(key, DATA, NOW)
    session.on_derp_gone(REGION, key)
    session.on_counters([Counters(key=key, endpoint=NEAR, received=1, sent=1)], NOW)
    session.adopt({key: NEAR}, NOW)

    assert not session.is_known(stranger)
    assert session.on_derp_packet(REGION, key, DATA, NOW) is None
    assert session.probe(key, NOW) is None
    assert session.take() == []


def test_an_answer_that_comes_too_late_or_another_way_proves_nothing() -> None:
    session = make_session()
    ping = pings(seek(session))[NEAR]
    session.on_disco(DISCO, Pong(ping.transaction, HERE), HOME, NOW + 0.1)
    assert state(session, NOW + 0.1) is State.SEEKING
    session.on_timer(NOW + 0.3)
    outputs = session.take()

    assert answer(session, NEAR, outputs, NOW + 9) == []


def test_many_calls_do_not_make_us_a_cannon() -> None:
    session = make_session()
    sent = 0
    for n in range(100):
        call = CallMeMaybe(tuple(make_endpoint(f"203.0.113.{i}") for i in range(1, 11)))
        session.on_disco(DISCO, call, HOME, NOW + n * 0.04)
        sent += len(session.take())

    assert sent <= CALLS_HEEDED * 11


def test_link_local_addresses_of_a_call_are_left_out() -> None:
    session = make_session()
    session.on_disco(DISCO, CallMeMaybe((make_endpoint("fe80::1"), FAR)), HOME, NOW)

    assert pings(session.take()).keys() == {NEAR, FAR}


def test_a_peer_cannot_make_us_remember_addresses_without_end() -> None:
    kept = Candidates((NEAR,))
    for n in range(1000):
        kept.add(make_endpoint("203.0.113.1", n + 1), Origin.PING)

    assert len(kept) == CANDIDATES + 1
    assert NEAR in kept


def test_a_key_from_nobody_or_without_a_key_in_it_changes_nothing() -> None:
    session = make_session()
    session.on_disco_key(make_key(9), make_disco(9), NOW)
    session.on_disco_key(PEER, DiscoPublic.zero(), NOW)

    assert session.is_known(DISCO)
    assert not session.is_known(make_disco(9))
    assert not session.is_known(DiscoPublic.zero())


def test_who_tells_another_peers_key_does_not_get_that_peers_messages() -> None:
    thief = make_facts(3, "203.0.113.3")
    session = make_session(make_facts(2, "198.51.100.2"), thief)
    session.on_disco_key(thief.key, DISCO, NOW)
    session.on_disco(DISCO, Ping(b"without-a-key"), ByUdp(NEAR), NOW)

    owner = session.peer(PEER)
    assert owner
    assert owner.report(NOW).heard_pings == 1
