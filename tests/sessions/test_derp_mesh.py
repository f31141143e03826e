"""Servers of one region: who watches, what is forwarded, and who is told that somebody left."""

from __future__ import annotations

import pytest
from tests.sessions.derp_bed import DISCO, A, B, Bed, C, Wire

from gatepost.errors import Malformed
from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import DropReason
from gatepost.sessions.derp_member import MESH_NOTICES, Client, Who
from gatepost.sessions.derp_mesh import NEIGHBOUR_LIMITS, Neighbour
from gatepost.wire.derp_frames import (
    ClosePeer,
    ForwardPacket,
    Frame,
    GoneReason,
    PeerGone,
    PeerPresent,
    ReceivePacket,
    SendPacket,
    WatchPeers,
)
from gatepost.wire.derp_present import PresentFlag, read_details

SERVER = NodePublic(b"\x55" * 32)
OTHER = NodePublic(b"\x66" * 32)
FAR = NodePublic(b"\x77" * 32)


def server_joins(bed: Bed) -> tuple[Client, Wire]:
    """Let another server connect to this one."""
    wire = Wire()
    who = Who(address="192.0.2.9", port=443, flags=PresentFlag.MESH_PEER)
    wire.client = bed.relay.join(SERVER, wire, who=who, now=0.0, jitter=0.0)
    return wire.client, wire


def dial(bed: Bed, key: NodePublic = SERVER) -> tuple[Neighbour, Wire]:
    """Let this server have connected to another one."""
    wire = Wire()
    return bed.relay.neighbour(key, wire), wire


def test_a_watcher_hears_of_all_who_are_there_and_of_all_who_come_and_go() -> None:
    bed = Bed()
    bed.join(A)
    server, wire = server_joins(bed)
    bed.send(server, WatchPeers())
    first = wire.frames()
    b, _ = bed.join(B)
    bed.relay.leave(b)
    bed.relay.flush()

    assert {f.peer for f in first if isinstance(f, PeerPresent)} == {A, SERVER}
    later = wire.frames()
    assert [type(f) for f in later] == [PeerPresent, PeerGone]
    assert later[1] == PeerGone(B, GoneReason.DISCONNECTED)


def test_a_watcher_is_told_address_and_kind() -> None:
    bed = Bed()
    server, wire = server_joins(bed)
    bed.send(server, WatchPeers())
    wire.frames()
    flags = PresentFlag.PROBER | PresentFlag.NOT_IDEAL
    bed.relay.join(A, Wire(), who=Who(address="2001:db8::1", port=7, flags=flags), now=0, jitter=0)
    bed.relay.flush()
    (seen,) = wire.frames()

    assert isinstance(seen, PeerPresent)
    address, port, kind = read_details(seen.details)
    assert (str(address), port, kind) == ("2001:db8::1", 7, flags)


def test_watching_twice_tells_nothing_twice() -> None:
    bed = Bed()
    server, wire = server_joins(bed)
    bed.send(server, WatchPeers(), WatchPeers())

    assert len(wire.frames()) == 1


@pytest.mark.parametrize(
    "frame",
    [WatchPeers(), ClosePeer(B), ForwardPacket(source=C, destination=B, payload=b"x")],
    ids=lambda f: type(f).__name__,
)
def test_a_client_may_not_speak_as_a_server(frame: Frame) -> None:
    bed = Bed()
    a, _ = bed.join(A)

    with pytest.raises(Malformed, match="mesh key"):
        bed.send(a, frame)


def test_a_forwarded_packet_arrives_with_its_first_sender() -> None:
    bed = Bed()
    server, _ = server_joins(bed)
    _, wire = bed.join(A)

    bed.send(server, ForwardPacket(source=FAR, destination=A, payload=b"hello"))

    assert wire.frames() == [ReceivePacket(FAR, b"hello")]


def test_a_forwarded_packet_is_never_forwarded_again() -> None:
    bed = Bed()
    server, back = server_joins(bed)
    neighbour, onward = dial(bed, OTHER)
    bed.relay.neighbour_has(neighbour, B)

    bed.send(server, ForwardPacket(source=FAR, destination=B, payload=DISCO))

    assert onward.frames() == []
    assert bed.dropped(DropReason.UNKNOWN_FORWARDED) == 1
    assert back.frames() == [PeerGone(B, GoneReason.NOT_HERE)]


def test_packets_for_a_client_of_another_server_are_forwarded_in_one_write() -> None:
    bed = Bed()
    a, _ = bed.join(A)
    neighbour, wire = dial(bed)
    bed.relay.neighbour_has(neighbour, FAR)

    bed.send(a, *(SendPacket(FAR, bytes([n]) * n) for n in (0, 1, 200)))

    assert wire.writes == 1
    assert wire.frames() == [
        ForwardPacket(source=A, destination=FAR, payload=bytes([n]) * n) for n in (0, 1, 200)
    ]
    assert bed.relay.counters().forwarded_packets == 3


def test_a_client_of_our_own_is_reached_here_wherever_else_it_is() -> None:
    bed = Bed()
    (a, _), (_, here) = bed.join(A), bed.join(B)
    neighbour, there = dial(bed)
    bed.relay.neighbour_has(neighbour, B)

    bed.send(a, SendPacket(B, b"x"))

    assert (here.frames(), there.frames()) == ([ReceivePacket(A, b"x")], [])


def test_of_two_servers_that_have_a_client_the_first_gets_its_packets_until_it_has_not() -> None:
    bed = Bed()
    a, _ = bed.join(A)
    (first, one), (second, two) = dial(bed), dial(bed, OTHER)
    for neighbour in (first, second, first):
        bed.relay.neighbour_has(neighbour, FAR)
    bed.send(a, SendPacket(FAR, b"1"))
    bed.relay.neighbour_lost(first, FAR)
    bed.send(a, SendPacket(FAR, b"2"))

    assert [len(w.frames()) for w in (one, two)] == [1, 1]


def test_those_who_heard_from_a_distant_client_are_told_when_it_leaves() -> None:
    bed = Bed()
    server, _ = server_joins(bed)
    (_, a_wire), (_, b_wire) = bed.join(A), bed.join(B)
    neighbour, _ = dial(bed)
    bed.relay.neighbour_has(neighbour, FAR)
    bed.send(server, ForwardPacket(source=FAR, destination=A, payload=b"x"))
    a_wire.frames()

    bed.relay.neighbour_lost(neighbour, FAR)
    bed.relay.flush()

    assert a_wire.frames() == [PeerGone(FAR, GoneReason.DISCONNECTED)]
    assert b_wire.frames() == []


def test_a_server_that_leaves_takes_all_its_clients_along() -> None:
    bed = Bed()
    server, _ = server_joins(bed)
    a, wire = bed.join(A)
    neighbour, _ = dial(bed)
    bed.relay.neighbour_has(neighbour, FAR)
    bed.send(server, ForwardPacket(source=FAR, destination=A, payload=b"x"))
    wire.frames()

    for _ in range(2):
        bed.relay.neighbour_left(neighbour)
    bed.send(a, SendPacket(FAR, b"y"))

    assert wire.frames() == [PeerGone(FAR, GoneReason.DISCONNECTED)]
    assert bed.dropped(DropReason.UNKNOWN_DESTINATION) == 1
    assert bed.relay.counters().distant == 0


def test_a_client_that_moved_to_another_server_is_not_reported_gone() -> None:
    bed = Bed()
    (_, b_wire), (a, _) = bed.join(B), bed.join(A)
    bed.send(a, SendPacket(B, b"x"))
    b_wire.frames()
    neighbour, _ = dial(bed)
    bed.relay.neighbour_has(neighbour, A)

    bed.relay.leave(a)
    bed.relay.flush()

    assert b_wire.frames() == []


def test_a_server_may_close_a_client() -> None:
    bed = Bed()
    server, _ = server_joins(bed)
    _, wire = bed.join(A)

    bed.send(server, ClosePeer(A))

    assert wire.closed


def test_what_waits_for_a_blocked_server_is_bounded_and_counted() -> None:
    bed = Bed()
    a, _ = bed.join(A)
    neighbour, _ = dial(bed)
    bed.relay.neighbour_has(neighbour, FAR)
    neighbour.outbox.block(0.0)
    sent = NEIGHBOUR_LIMITS.packets + 50

    for _ in range(sent):
        bed.send(a, SendPacket(FAR, b"x"))
    waiting = bed.relay.neighbours()[0].waiting_octets
    bed.relay.neighbour_left(neighbour)

    assert waiting == NEIGHBOUR_LIMITS.packets * (5 + 64 + 1)
    assert bed.dropped(DropReason.MESH_QUEUE_FULL) == 50
    assert bed.dropped(DropReason.MESH_LEFT) == NEIGHBOUR_LIMITS.packets


def test_a_watcher_that_misses_notices_is_closed_rather_than_misled() -> None:
    bed = Bed()
    server, wire = server_joins(bed)
    bed.send(server, WatchPeers())
    server.outbox.block(0.0)
    a, _ = bed.join(A)
    frame = b"\x06\x00\x00\x00\x00"
    for _ in range(MESH_NOTICES):
        server.outbox.put_control(frame)

    assert "must know" in wire.closed
    assert not a.left
