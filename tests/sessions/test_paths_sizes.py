"""Probing how long a packet a path carries."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.sessions.paths_makers import (
    DISCO,
    HERE,
    NEAR,
    NOW,
    PEER,
    PLACE,
    answer,
    make_session,
    seek,
    state,
)
from tests.sessions.paths_world import make_endpoint, make_random

from gatepost.model.keys import DiscoPrivate
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_numbers import SIZE_VALID, SIZING, SIZINGS, TRUST, UPGRADE, WIRE_SIZES
from gatepost.sessions.paths_outputs import ByRelay, ByUdp, Narrow, Output, Send
from gatepost.sessions.paths_peer import State
from gatepost.sessions.paths_sizes import padding_for, whole_packet
from gatepost.wire.box import SharedKeys
from gatepost.wire.disco import Ping, Pong, seal_packet
from gatepost.wire.geneve import DISCO as GENEVE_DISCO
from gatepost.wire.geneve import Geneve, write_geneve

V6 = make_endpoint("2001:db8::2")
ONE, OTHER = DiscoPrivate(bytes(31) + b"\1"), DiscoPrivate(bytes(31) + b"\2")


def probes(outputs: list[Output]) -> list[Ping]:
    return [
        o.message
        for o in outputs
        if isinstance(o, Send) and isinstance(o.message, Ping) and o.message.padding
    ]


@pytest.mark.parametrize("size", WIRE_SIZES)
@pytest.mark.parametrize(("way", "headers"), [(ByUdp(NEAR), 28), (ByUdp(V6), 48), (PLACE.way, 28)])
def test_a_probe_is_as_long_on_the_wire_as_it_says(
    way: ByUdp | ByRelay, headers: int, size: int
) -> None:
    ping = Ping(bytes(12), PEER, padding_for(size, way))
    packet = seal_packet(ping, ONE.public, OTHER.public, SharedKeys(ONE), make_random()(24))
    if isinstance(way, ByRelay):
        packet = write_geneve(Geneve(way.vni, GENEVE_DISCO), packet)

    assert headers + len(packet) == size


def test_a_new_path_is_probed_with_every_size_and_remembers_what_came_back() -> None:
    session = make_session()
    sent = probes(answer(session, NEAR, seek(session), NOW + 0.01))
    for ping in sent[:2]:
        session.on_disco(DISCO, Pong(ping.transaction, HERE), ByUdp(NEAR), NOW + 1.0)

    assert len(sent) == len(WIRE_SIZES)
    peer = session.peer(PEER)
    assert peer
    assert peer.report(NOW + 1.0).mtu == WIRE_SIZES[1]
    assert peer.latency == pytest.approx(0.01)  # a long packet's time is not the path's


def test_a_path_that_carries_less_than_it_did_is_noticed() -> None:
    session, now = make_session(), NOW + 0.01
    peer = session.peer(PEER)
    assert peer
    for ping in probes(answer(session, NEAR, seek(session), now)):
        session.on_disco(DISCO, Pong(ping.transaction, HERE), ByUdp(NEAR), now)
    seen = [peer.report(now).mtu]
    while now < NOW + UPGRADE + SIZE_VALID + UPGRADE:
        now += 0.5
        session.on_outbound(PEER, b"", now)
        session.on_timer(now)
        for output in session.take():
            if isinstance(output, Send) and isinstance(output.message, Ping):
                long = output.message.padding > padding_for(WIRE_SIZES[1], ByUdp(NEAR))
                if not long:
                    pong = Pong(output.message.transaction, HERE)
                    session.on_disco(DISCO, pong, ByUdp(NEAR), now)
        seen.append(peer.report(now).mtu)

    assert state(session, now) is State.DIRECT
    assert (seen[0], seen[-1]) == (WIRE_SIZES[-1], WIRE_SIZES[1])


# --- narrow paths ---------------------------------------------------------------------------

JUDGED = NOW + 0.01 + SIZING + 0.1  # when the answers to the first sizes have had their time


def measured(largest: int) -> tuple[Paths, list[Output]]:
    """Have a direct path on which packets of up to `largest` octets come back."""
    session = make_session()
    for size, ping in zip(
        WIRE_SIZES, probes(answer(session, NEAR, seek(session), NOW + 0.01)), strict=True
    ):
        if size <= largest:
            session.on_disco(DISCO, Pong(ping.transaction, HERE), ByUdp(NEAR), NOW + 0.1)
    session.take()
    session.on_timer(JUDGED)
    return session, session.take()


def narrowed(outputs: Iterable[Output]) -> list[Narrow]:
    return [o for o in outputs if isinstance(o, Narrow)]


@pytest.mark.parametrize(
    ("largest", "said"),
    [(0, []), (1280, [Narrow(PEER, NEAR)]), (1360, []), (1500, [])],
)
def test_a_path_is_narrow_that_carries_short_packets_and_no_whole_ones(
    largest: int, said: list[Narrow]
) -> None:
    _, outputs = measured(largest)

    assert narrowed(outputs) == said


def test_a_path_is_not_judged_before_its_answers_have_had_their_time() -> None:
    session = make_session()
    (short, *_) = probes(answer(session, NEAR, seek(session), NOW + 0.01))
    session.on_disco(DISCO, Pong(short.transaction, HERE), ByUdp(NEAR), NOW + 0.1)
    session.on_timer(NOW + 0.2)

    assert narrowed(session.take()) == []
    assert (session.next_timer() or 0) <= JUDGED


def test_a_whole_packet_that_comes_late_makes_the_path_wide_again() -> None:
    session = make_session()
    short, whole, *_ = probes(answer(session, NEAR, seek(session), NOW + 0.01))
    session.on_disco(DISCO, Pong(short.transaction, HERE), ByUdp(NEAR), NOW + 0.1)
    session.on_timer(JUDGED)
    before = narrowed(session.take())
    session.on_disco(DISCO, Pong(whole.transaction, HERE), ByUdp(NEAR), JUDGED + 0.1)

    assert (before, narrowed(session.take())) == ([Narrow(PEER, NEAR)], [Narrow(PEER, None)])


def test_a_path_that_is_lost_is_narrow_no_more_and_is_so_again_when_it_answers() -> None:
    session, _ = measured(1280)
    now, lost, outputs = JUDGED, list[Narrow](), list[Output]()
    while now < JUDGED + TRUST + 1 and not lost:
        now += 0.25
        session.on_outbound(PEER, b"", now)
        session.on_timer(now)
        outputs = session.take()
        lost = narrowed(outputs)
    back = narrowed(answer(session, NEAR, outputs, now + 0.01))

    assert lost == [Narrow(PEER, None)]
    assert back == [Narrow(PEER, NEAR)]


def test_what_wireguard_uses_when_the_daemon_starts_is_measured_at_once() -> None:
    session = make_session()
    session.adopt({PEER: NEAR}, NOW)

    assert len(probes(session.take())) == len(WIRE_SIZES)


@pytest.mark.parametrize(("version", "octets"), [(4, 1340), (6, 1360)])
def test_a_whole_packet_is_what_wireguard_makes_of_the_longest_inside(
    version: int, octets: int
) -> None:
    assert whole_packet(version) == octets


def test_a_path_that_answers_no_size_is_tried_again_but_not_for_ever() -> None:
    session = make_session()
    answer(session, NEAR, seek(session), NOW + 0.01)
    now, tried = NOW + 0.01, 0
    while now < NOW + UPGRADE / 2:
        now += 0.25
        session.on_outbound(PEER, b"", now)
        session.on_timer(now)
        for output in session.take():
            if isinstance(output, Send) and isinstance(output.message, Ping):
                tried += output.message.padding > 0
                if not output.message.padding:
                    pong = Pong(output.message.transaction, HERE)
                    session.on_disco(DISCO, pong, ByUdp(NEAR), now)

    assert tried == (SIZINGS - 1) * len(WIRE_SIZES)
