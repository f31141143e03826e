"""Paths through peer relays: between a direct path and DERP, in every respect."""

from __future__ import annotations

import dataclasses

import pytest
from tests.sessions.paths_makers import (
    DISCO,
    HERE,
    HOME,
    NEAR,
    NOW,
    PEER,
    PLACE,
    answer,
    make_session,
    make_state,
    pings,
    relay,
    relay_pings,
    seek,
    state,
)
from tests.sessions.paths_world import DATA, make_disco, make_endpoint, make_key

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_candidates import Candidate, Relays, is_place, is_possible
from gatepost.sessions.paths_choice import beats
from gatepost.sessions.paths_numbers import RELAY_PINGS, RELAYS
from gatepost.sessions.paths_outputs import (
    ByRelay,
    ByUdp,
    Carry,
    Counters,
    Moved,
    Output,
    SeekRelay,
    Send,
)
from gatepost.sessions.paths_peer import State
from gatepost.sessions.paths_report import Origin, Reason
from gatepost.wire.disco import Ping, Pong

OTHER = dataclasses.replace(PLACE, vni=6, endpoint=make_endpoint("198.18.0.2", 1))
FAR_RELAY = dataclasses.replace(
    PLACE, server=make_endpoint("192.0.2.8", 7777), relay=make_disco(80), endpoint=None
)


def run(session: Paths, start: float, seconds: float) -> list[Output]:
    """Let time pass while the peer is silent and WireGuard sends; return what was asked for."""
    outputs: list[Output] = []
    for tenth in range(int(seconds * 10)):
        now = start + tenth / 10
        session.on_outbound(PEER, DATA, now)
        session.on_timer(now)
        outputs += session.take()
    return outputs


def keep(session: Paths, start: float, seconds: float) -> list[Output]:
    """Let time pass while the peer answers on its relay only."""
    outputs: list[Output] = []
    for tenth in range(int(seconds * 10)):
        now = start + tenth / 10
        session.on_outbound(PEER, DATA, now)
        session.on_timer(now)
        made = session.take()
        for way, ping in relay_pings(made):
            session.on_disco(DISCO, Pong(ping.transaction, PLACE.server), way, now + 0.02)
        outputs += made + session.take()
    return outputs


def test_relays_are_asked_for_when_the_first_pings_found_nothing_and_every_30_seconds() -> None:
    session = make_session()
    at_once = seek(session)
    later = run(session, NOW, 65.0)

    assert not [o for o in at_once if isinstance(o, SeekRelay)]
    assert [o for o in later if isinstance(o, SeekRelay)] == [SeekRelay(PEER, DISCO)] * 3


def test_relays_are_not_asked_for_where_a_direct_path_is_found_or_nobody_talks() -> None:
    session, now = make_state(State.DIRECT)
    session.on_timer(now + 1.0)
    idle, later = make_state(State.IDLE)
    idle.on_timer(later + 60.0)

    assert not [o for o in session.take() + idle.take() if isinstance(o, SeekRelay)]


def test_a_relay_path_is_used_when_the_peer_answers_on_it() -> None:
    session = make_session()
    seek(session)
    outputs = relay(session, NOW)

    assert outputs[0] == Moved(PEER, PLACE)
    peer = session.peer(PEER)
    assert peer
    assert (peer.relay, peer.direct, peer.wireguard) == (PLACE, None, PLACE.endpoint)
    assert peer.latency == pytest.approx(0.03)


def test_without_the_kernels_help_packets_go_through_the_proxy_and_the_relay() -> None:
    session = make_session()
    seek(session)
    relay(session, NOW, FAR_RELAY)
    session.on_outbound(PEER, DATA, NOW + 0.1)

    assert session.take() == [Carry(FAR_RELAY.way, DATA)]
    peer = session.peer(PEER)
    assert peer
    assert peer.wireguard is None
    assert session.owner_of_place(FAR_RELAY.way) == PEER
    assert session.on_relay_packet(PEER, DATA, NOW + 0.2) is peer


def test_the_search_for_a_direct_path_goes_on_and_wins_whatever_the_latency() -> None:
    session = make_session()
    seek(session)
    relay(session, NOW)
    outputs = keep(session, NOW + 0.1, 11.0)
    rounds = [o for o in outputs if isinstance(o, Send) and o.way == ByUdp(NEAR)]
    assert len(rounds) >= 2
    now = NOW + 20.0
    session.on_timer(now)
    ping = pings(session.take())[NEAR]
    session.on_disco(DISCO, Pong(ping.transaction, HERE), ByUdp(NEAR), now + 0.9)

    assert state(session, now + 0.9) is State.DIRECT
    assert Moved(PEER, ByUdp(NEAR)) in session.take()


def test_a_relay_never_takes_over_from_a_direct_path() -> None:
    session, now = make_state(State.DIRECT)
    outputs = relay(session, now)

    assert not [o for o in outputs if isinstance(o, Moved)]
    assert state(session, now + 0.03) is State.DIRECT


def test_wireguard_that_a_relays_packets_moved_is_called_back_to_the_direct_path() -> None:
    session, now = make_state(State.DIRECT)
    relay(session, now)
    session.on_counters([Counters(key=PEER, endpoint=PLACE.endpoint, received=9, sent=9)], now + 1)

    assert Moved(PEER, ByUdp(NEAR)) in session.take()


def test_a_place_of_a_former_run_is_no_address_of_the_peer() -> None:
    session, now = make_state(State.SEEKING)
    session.take()
    session.on_counters([Counters(key=PEER, endpoint=PLACE.endpoint, received=9, sent=9)], now)

    assert session.take() == [Moved(PEER, None)]


def test_a_relay_that_falls_silent_is_left_and_asked_for_again_at_once() -> None:
    session = make_session()
    seek(session)
    relay(session, NOW)
    keep(session, NOW + 0.1, 10.0)
    outputs = run(session, NOW + 10.1, 8.0)

    assert Moved(PEER, None) in outputs
    assert SeekRelay(PEER, DISCO) in outputs
    assert state(session, NOW + 18.0) is State.SEEKING


def test_a_place_that_ended_is_not_used_any_more() -> None:
    session, now = make_state(State.RELAYED)
    session.take()
    session.relay_path_lost(PEER, OTHER, now)
    untouched = session.take()
    session.relay_path_lost(PEER, PLACE, now)

    assert untouched == []
    assert session.take()[0] == Moved(PEER, None)
    assert session.owner_of_place(PLACE.way) is None
    peer = session.peer(PEER)
    assert peer
    assert peer.report(now).changes[-1].reason is Reason.RELAY_LOST


def test_another_place_at_the_same_relay_is_used_as_soon_as_it_answers() -> None:
    session, now = make_state(State.RELAYED)
    session.take()
    session.relay_path_found(PEER, OTHER, now)
    way, ping = relay_pings(session.take())[0]
    before = session.peer(PEER)
    assert before
    assert before.relay == PLACE
    session.on_disco(DISCO, Pong(ping.transaction, OTHER.server), way, now + 2.0)

    assert Moved(PEER, OTHER) in session.take()


def test_a_place_that_another_has_replaced_is_left_when_it_is_lost() -> None:
    session, now = make_state(State.RELAYED)
    session.relay_path_found(PEER, OTHER, now)
    session.take()
    session.relay_path_lost(PEER, PLACE, now)
    session.on_outbound(PEER, DATA, now + 0.1)
    outputs = session.take()

    assert Moved(PEER, None) in outputs
    assert [o for o in outputs if isinstance(o, Carry)] == [Carry(HOME, DATA)]
    assert state(session, now) is State.SEEKING


def test_the_relay_in_use_makes_no_room_for_another_one() -> None:
    kept = Relays()
    used = kept.put(PLACE)
    for n in range(100):
        kept.put(dataclasses.replace(PLACE, relay=make_disco(200 + n)), keep=used)

    assert used in list(kept)


def test_a_slower_relay_is_not_used_and_a_faster_one_is() -> None:
    slow = Candidate(FAR_RELAY.server, Origin.RELAY, FAR_RELAY, latency=0.2)
    fast = Candidate(PLACE.server, Origin.RELAY, PLACE, latency=0.1)
    address = Candidate(NEAR, Origin.CALL, latency=2.0)

    assert beats(fast, slow)
    assert not beats(slow, fast)
    assert beats(address, fast)
    assert not beats(fast, address)
    assert not beats(fast, fast)


def test_a_peer_that_never_binds_its_end_is_pinged_ten_times() -> None:
    session = make_session()
    session.relay_path_found(PEER, PLACE, NOW)
    outputs = session.take() + run(session, NOW, 44.0)

    assert len(relay_pings(outputs)) == RELAY_PINGS


def test_a_ping_by_relay_is_answered_there_and_pinged_back() -> None:
    session = make_session()
    session.relay_path_found(PEER, PLACE, NOW)
    session.take()
    session.on_disco(DISCO, Ping(b"by-the-relay", PEER), PLACE.way, NOW + 1.0)
    outputs = session.take()

    assert outputs[0] == Send(DISCO, PLACE.way, Pong(b"by-the-relay", PLACE.server))
    assert [way for way, _ in relay_pings(outputs)] == [PLACE.way]


def test_a_pong_by_another_place_proves_nothing() -> None:
    session = make_session()
    seek(session)
    session.relay_path_found(PEER, PLACE, NOW)
    _, ping = relay_pings(session.take())[0]
    for way in (OTHER.way, HOME, ByUdp(PLACE.server)):
        session.on_disco(DISCO, Pong(ping.transaction, PLACE.server), way, NOW + 0.1)

    assert state(session, NOW + 0.1) is State.SEEKING


def test_relays_of_a_peer_do_not_grow_without_end() -> None:
    kept = Relays()
    for n in range(100):
        kept.put(dataclasses.replace(PLACE, vni=n + 1, relay=make_disco(200 + n)))

    assert len(kept) == RELAYS


def test_a_binding_renewed_keeps_what_is_known_of_the_place() -> None:
    kept = Relays()
    first = kept.put(PLACE)
    again = kept.put(dataclasses.replace(PLACE, generation=2))

    assert again is first
    assert kept.by_way(ByRelay(PLACE.server, PLACE.vni)) is first


def test_a_relay_path_to_nobody_is_ignored() -> None:
    session = make_session()
    session.relay_path_found(make_key(9), PLACE, NOW)
    session.relay_path_lost(make_key(9), PLACE, NOW)

    assert session.take() == []
    assert session.owner_of_place(PLACE.way) is None
    assert session.on_relay_packet(make_key(9), DATA, NOW) is None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1", "fe80::1"],
)
def test_a_peer_cannot_make_us_write_to_ourselves_or_to_everybody(address: str) -> None:
    assert not is_possible(make_endpoint(address))


def test_a_stand_in_for_a_place_is_told_from_addresses() -> None:
    assert PLACE.endpoint
    assert is_place(PLACE.endpoint)
    assert not is_place(make_endpoint("198.18.0.1"))
    assert not is_place(Endpoint(make_endpoint("fd00::1").address, 1))


def test_the_report_says_what_was_tried_and_what_answered() -> None:
    session = make_session()
    asked = seek(session)
    answer(session, NEAR, asked, NOW + 0.02)
    sent = next(o for o in asked if isinstance(o, Send) and o.way == ByUdp(NEAR))
    session.on_not_sent(sent, "Network is unreachable")
    session.relay_path_found(PEER, PLACE, NOW + 1.0)
    peer = session.peer(PEER)
    assert peer
    report = peer.report(NOW + 2.0)

    assert (report.path, report.way, report.is_active) == ("direct", ByUdp(NEAR), True)
    assert report.latency == pytest.approx(0.02)
    assert report.calls_sent == 1
    assert report.told == (HERE,)
    by_way = {t.way: t for t in report.tries}
    near, place = by_way[ByUdp(NEAR)], by_way[PLACE.way]
    assert (near.origin, near.pings, near.answers) == (Origin.NETMAP, 1, 1)
    assert near.trouble == "Network is unreachable"
    assert near.answered == pytest.approx(1.98)
    assert (place.origin, place.answers, place.latency) == (Origin.RELAY, 0, None)
    assert [(c.before, c.after, c.reason) for c in report.changes] == [
        (None, ByUdp(NEAR), Reason.ANSWERED)
    ]
