"""A daemon that is killed: its WireGuard goes on, and so must what both sides say to each other."""

from __future__ import annotations

import itertools

import pytest
from tests.sessions.paths_makers import DISCO, HOME, NEAR, PEER, PLACE, make_state, state
from tests.sessions.paths_world import DATA, Host, Nat, World

from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import ByDerp, ByUdp, Carry, Counters, Hold, Moved
from gatepost.sessions.paths_peer import State
from gatepost.wire.disco import CallMeMaybe


def make_world(*, behind_nat: bool) -> tuple[World, Host, Host]:
    nat = Nat("203.0.113.10") if behind_nat else None
    one, two = Host(1, "198.51.100.1"), Host(2, "198.51.100.2", nat)
    world = World(one, two)
    world.introduce()
    return world, one, two


def exchange(world: World, one: Host, two: Host, interval: float, seconds: float) -> list[float]:
    """Let `one` ask every `interval` seconds; return when a question or its answer was lost."""
    lost: list[float] = []
    start, numbers = world.now, itertools.count(1)
    while world.now < start + seconds:
        question = DATA + next(numbers).to_bytes(4, "big") + start.hex().encode()
        at = world.now
        world.packet(one, two, question)
        world.run(0.06)
        if any(packet == question for _, _, packet in two.received):
            world.packet(two, one, question + b"!")
        world.run(interval - 0.06)
        if not any(packet == question + b"!" for _, _, packet in one.received):
            lost.append(round(at - start, 2))
        one.received.clear()
        two.received.clear()
    return lost


@pytest.mark.parametrize("behind_nat", [False, True])
@pytest.mark.parametrize("tenths", range(0, 70, 3))
@pytest.mark.parametrize("interval", [0.1, 1.0, 4.0, 20.0])
def test_no_traffic_is_lost_whenever_the_daemon_is_killed(
    tenths: int, interval: float, *, behind_nat: bool
) -> None:
    world, one, two = make_world(behind_nat=behind_nat)
    exchange(world, two, one, 0.1, 3.0)
    before = exchange(world, one, two, 0.1, 1.0 + tenths / 10)
    two.is_killed = True

    assert before == []
    assert exchange(world, one, two, interval, 60.0) == []


@pytest.mark.parametrize("silence", [47.0, 55.0, 300.0, 7200.0])
def test_traffic_that_rested_goes_on_without_the_peers_daemon(silence: float) -> None:
    world, one, two = make_world(behind_nat=False)
    exchange(world, one, two, 0.1, 5.0)
    two.is_killed = True
    world.run(silence)

    assert exchange(world, one, two, 0.5, 30.0) == []


def test_a_way_that_nobody_answers_gets_copies_until_derp_brings_something() -> None:
    session, now = make_state(State.DIRECT)
    at = now + 60.0
    session.on_timer(at)
    session.take()
    session.on_outbound(PEER, DATA, at)
    unsure = [o for o in session.take() if isinstance(o, Carry)]
    session.on_derp_packet(HOME.region, PEER, DATA, at + 0.1)
    session.take()
    session.on_outbound(PEER, DATA, at + 0.2)
    sure = [o for o in session.take() if isinstance(o, Carry)]

    by_derp = Carry(ByDerp(HOME.region, PEER), DATA)
    assert unsure == [Carry(ByUdp(NEAR), DATA), by_derp]
    assert sure == [by_derp]


def copied(session: Paths, at: float, seconds: float, *, heard_every: float) -> list[float]:
    """Send ten packets a second while the path is dead; return when one left twice.

    The peer sends nothing but what its WireGuard says of itself, by DERP.
    """
    twice: list[float] = []
    heard = 0.0
    for tenth in range(int(seconds * 10)):
        after = tenth / 10
        session.on_timer(at + after)
        if after - heard >= heard_every:
            heard = after
            session.on_derp_packet(HOME.region, PEER, DATA, at + after)
        session.take()
        session.on_outbound(PEER, DATA, at + after)
        if len([o for o in session.take() if isinstance(o, Carry)]) > 1:
            twice.append(after)
    return twice


def test_copies_by_a_way_that_was_given_up_end_when_the_peer_is_heard_by_derp() -> None:
    session, now = make_state(State.DIRECT)
    twice = copied(session, now, 120.0, heard_every=14.0)

    assert min(twice) < 5.0
    assert 13.5 < max(twice) < 14.0


def test_copies_go_on_while_the_peer_is_not_heard_at_all() -> None:
    session, now = make_state(State.DIRECT)

    assert copied(session, now, 60.0, heard_every=1000.0)[-1] == pytest.approx(59.9)


def test_a_call_of_the_peer_ends_the_copies_too() -> None:
    session, now = make_state(State.DIRECT)
    copied(session, now, 20.0, heard_every=1000.0)
    session.on_disco(DISCO, CallMeMaybe((NEAR,)), HOME, now + 20.0)

    assert copied(session, now + 20.1, 20.0, heard_every=1000.0) == []


def test_traffic_after_a_silence_is_copied_again_until_the_way_had_time_to_answer() -> None:
    session, now = make_state(State.DIRECT)
    copied(session, now, 30.0, heard_every=9.0)
    later = now + 30.0 + 300.0
    session.on_timer(later)

    assert copied(session, later, 4.0, heard_every=1000.0)[-1] == pytest.approx(3.9)


def test_a_relay_that_only_wireguard_is_heard_by_is_used_again() -> None:
    session, now = make_state(State.RELAYED)
    at = now + 60.0
    session.on_timer(at)
    lost = session.take()
    session.on_outbound(PEER, DATA, at)
    copies = [o.way for o in session.take() if isinstance(o, Carry)]
    reading = Counters(key=PEER, endpoint=PLACE.endpoint, received=1, sent=1)
    session.on_counters([reading], at + 1.0)

    assert Moved(PEER, None) in lost
    assert copies == [PLACE.way, ByDerp(HOME.region, PEER)]
    assert Moved(PEER, PLACE) in session.take()
    assert state(session, at + 1.0) is State.RELAYED


def test_a_relay_place_that_is_given_up_gets_no_copies() -> None:
    session, now = make_state(State.RELAYED)
    session.on_timer(now + 60.0)
    session.relay_path_lost(PEER, PLACE, now + 60.0)
    session.take()
    session.on_outbound(PEER, DATA, now + 61.0)

    carried = [o.way for o in session.take() if isinstance(o, Carry)]
    assert carried == [ByDerp(HOME.region, PEER)]


def test_an_address_that_wireguard_moved_to_is_held_first_and_believed_when_heard_again() -> None:
    session, now = make_state(State.SEEKING)
    reading = Counters(key=PEER, endpoint=NEAR, received=1, sent=1)
    session.on_counters([reading], now + 10.0)
    first = session.take()
    session.on_held(PEER, NEAR, DATA, now + 10.1)

    assert Hold(PEER, NEAR) in first
    assert Moved(PEER, ByUdp(NEAR)) not in first
    assert Moved(PEER, ByUdp(NEAR)) in session.take()
