"""Probing how long a packet a path carries."""

from __future__ import annotations

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
from gatepost.sessions.paths_numbers import SIZE_VALID, UPGRADE, WIRE_SIZES
from gatepost.sessions.paths_outputs import ByRelay, ByUdp, Output, Send
from gatepost.sessions.paths_peer import State
from gatepost.sessions.paths_sizes import padding_for
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
