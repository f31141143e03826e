"""The relay: who gets what, what is dropped, and who is told."""

from __future__ import annotations

import pytest
from tests.sessions.derp_bed import DISCO, A, B, Bed, C, Wire

from gatepost.errors import Malformed, WireError
from gatepost.sessions.derp_counters import DropReason
from gatepost.sessions.derp_member import NOT_HERE_RATE, RelayLimits, Who
from gatepost.sessions.derp_outbox import OutboxLimits
from gatepost.sessions.derp_server import WRITE_TIMEOUT
from gatepost.wire.derp import KEEP_ALIVE, write_frame
from gatepost.wire.derp_frames import (
    ClosePeer,
    ForwardPacket,
    Frame,
    GoneReason,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    Ping,
    Pong,
    ReceivePacket,
    Restarting,
    SendPacket,
    Unknown,
    WatchPeers,
)


def test_a_packet_reaches_its_destination_with_its_sender() -> None:
    bed = Bed()
    (a, a_wire), (_, b_wire) = bed.join(A), bed.join(B)

    bed.send(a, SendPacket(B, b"hello"))

    assert b_wire.frames() == [ReceivePacket(A, b"hello")]
    assert a_wire.frames() == []


def test_what_one_turn_brings_is_written_once_per_destination() -> None:
    bed = Bed()
    (a, _), (b, b_wire), (_, c_wire) = bed.join(A), bed.join(B), bed.join(C)
    mixed = [SendPacket(k, bytes([i])) for i in range(10) for k in (B, C)]
    stream = bytearray(b"".join(map(write_frame, mixed)))
    own = bytearray(write_frame(SendPacket(C, b"from b")))

    bed.relay.receive(a, stream, len(stream), 0.0)
    bed.relay.receive(b, own, len(own), 0.0)
    bed.relay.flush()

    assert (b_wire.writes, c_wire.writes, bed.wakes) == (1, 1, 1)
    assert b_wire.frames() == [ReceivePacket(A, bytes([i])) for i in range(10)]
    assert c_wire.frames()[-1] == ReceivePacket(B, b"from b")


def test_reads_of_one_turn_follow_each_other_in_one_buffer_until_they_are_written() -> None:
    bed = Bed()
    (a, _), (b, b_wire), (_, c_wire) = bed.join(A), bed.join(B), bed.join(C)
    buffer = bytearray(1000)

    for sender, frame in ((a, SendPacket(C, b"of a")), (b, SendPacket(C, b"of b"))):
        written, start = write_frame(frame), bed.relay.gathered
        buffer[start : start + len(written)] = written
        bed.relay.receive(sender, buffer, start + len(written), 0.0, start)
    bed.relay.flush()

    assert c_wire.frames() == [ReceivePacket(A, b"of a"), ReceivePacket(B, b"of b")]
    assert b_wire.frames() == []
    assert bed.relay.gathered == 0


def test_what_was_written_at_once_leaves_the_buffer_free() -> None:
    bed = Bed(RelayLimits(outbox=OutboxLimits(direct=100)))
    (a, _), (_, b_wire) = bed.join(A), bed.join(B)
    stream = bytearray(write_frame(SendPacket(B, bytes(200))))

    bed.relay.receive(a, stream, len(stream), 0.0)

    assert (bed.relay.gathered, b_wire.writes) == (0, 1)


def test_gathered_packets_are_written_early_when_they_grow_large() -> None:
    bed = Bed(RelayLimits(outbox=OutboxLimits(gather=1000, direct=1 << 20)))
    (a, _), (_, b_wire) = bed.join(A), bed.join(B)
    stream = bytearray(write_frame(SendPacket(B, bytes(600))))

    for _ in range(2):
        bed.relay.receive(a, bytearray(stream), len(stream), 0.0)

    assert b_wire.writes == 1


def test_half_a_frame_waits_for_its_other_half() -> None:
    bed = Bed()
    (a, _), (_, b_wire) = bed.join(A), bed.join(B)
    stream = write_frame(SendPacket(B, b"one")) + write_frame(SendPacket(B, b"two"))[:20]

    used = bed.relay.receive(a, bytearray(stream), len(stream), 0.0)
    bed.relay.flush()

    assert used == len(write_frame(SendPacket(B, b"one")))
    assert b_wire.frames() == [ReceivePacket(A, b"one")]


def test_a_reader_that_stops_keeps_the_newest_packets_and_loses_the_oldest() -> None:
    bed = Bed(RelayLimits(outbox=OutboxLimits(packets=3)))
    (a, _), (b, b_wire) = bed.join(A), bed.join(B)
    b.outbox.block(0.0)

    bed.send(a, *[SendPacket(B, bytes([i])) for i in range(10)])
    b.outbox.unblock()

    assert b_wire.frames() == [ReceivePacket(A, bytes([i])) for i in (7, 8, 9)]
    assert bed.dropped(DropReason.QUEUE_FULL) == 7


def test_a_reader_that_stops_holds_a_bounded_number_of_octets() -> None:
    limits = OutboxLimits(packets=1000, octets=10_000)
    bed = Bed(RelayLimits(outbox=limits))
    (a, _), (b, _) = bed.join(A), bed.join(B)
    b.outbox.block(0.0)

    for _ in range(50):
        bed.send(a, SendPacket(B, bytes(1400)))

    assert b.outbox.waiting <= limits.octets
    assert bed.dropped(DropReason.QUEUE_FULL) == 50 - limits.octets // 1437


def test_discovery_overtakes_waiting_data_and_is_not_pushed_out_by_it() -> None:
    bed = Bed(RelayLimits(outbox=OutboxLimits(packets=2)))
    (a, _), (b, b_wire) = bed.join(A), bed.join(B)
    b.outbox.block(0.0)

    bed.send(a, SendPacket(B, DISCO), *[SendPacket(B, bytes([i])) for i in range(5)])
    b.outbox.unblock()

    assert b_wire.frames()[0] == ReceivePacket(A, DISCO)


def test_a_reader_that_blocks_again_at_once_keeps_the_rest_waiting() -> None:
    bed = Bed(RelayLimits(outbox=OutboxLimits(direct=100)))
    (a, _), (b, b_wire) = bed.join(A), bed.join(B)
    b.outbox.block(0.0)
    bed.send(a, *[SendPacket(B, bytes(100)) for _ in range(5)])

    b_wire.room = 2
    b.outbox.unblock()

    assert len(b_wire.frames()) == 2
    assert b.outbox.waiting == 3 * 137


def test_one_reader_that_stops_does_not_hold_up_another() -> None:
    bed = Bed()
    (a, _), (b, _), (_, c_wire) = bed.join(A), bed.join(B), bed.join(C)
    b.outbox.block(0.0)

    for _ in range(1000):
        bed.send(a, SendPacket(B, bytes(1400)), SendPacket(C, b"x"))

    assert len(c_wire.frames()) == 1000


def test_a_reader_that_takes_nothing_is_closed_after_the_write_timeout() -> None:
    bed = Bed()
    b, b_wire = bed.join(B)
    b.outbox.block(5.0)

    bed.relay.tick(5.0 + WRITE_TIMEOUT)
    assert not b_wire.closed
    bed.relay.tick(5.1 + WRITE_TIMEOUT)
    assert "took nothing" in b_wire.closed


def test_a_reader_that_is_slow_but_reads_is_not_closed() -> None:
    bed = Bed()
    b, b_wire = bed.join(B)
    b.outbox.block(0.0)

    for step in range(1, 10):
        b_wire.held = 1000 - step
        bed.relay.tick(step * (WRITE_TIMEOUT - 1))
    assert not b_wire.closed

    bed.relay.tick(10 * WRITE_TIMEOUT + 10)
    assert b_wire.closed


def test_discovery_for_a_stranger_is_answered_with_not_here() -> None:
    bed = Bed()
    a, a_wire = bed.join(A)

    bed.send(a, SendPacket(B, DISCO))

    assert a_wire.frames() == [PeerGone(B, GoneReason.NOT_HERE)]
    assert bed.dropped(DropReason.UNKNOWN_DESTINATION) == 1


def test_data_for_a_stranger_is_dropped_in_silence() -> None:
    bed = Bed()
    a, a_wire = bed.join(A)

    bed.send(a, *[SendPacket(B, bytes(1400))] * 3)

    assert a_wire.frames() == []
    assert bed.dropped(DropReason.UNKNOWN_DESTINATION) == 3


def test_not_here_is_said_three_times_a_second_at_most() -> None:
    bed = Bed()
    a, a_wire = bed.join(A)
    for step in range(100):
        bed.send(a, SendPacket(B, DISCO), now=step / 100)

    assert len(a_wire.frames()) <= 2 * NOT_HERE_RATE

    bed.send(a, SendPacket(B, DISCO), now=10.0)
    assert len(a_wire.frames()) == 1


def test_those_who_heard_from_a_peer_are_told_when_it_leaves() -> None:
    bed = Bed()
    (a, _), (_, b_wire), (_, c_wire) = bed.join(A), bed.join(B), bed.join(C)
    bed.send(a, SendPacket(B, b"hello"))
    b_wire.frames()

    bed.relay.leave(a)
    bed.relay.leave(a)
    bed.relay.flush()

    assert b_wire.frames() == [PeerGone(A, GoneReason.DISCONNECTED)]
    assert c_wire.frames() == []


def test_packets_that_waited_for_a_leaver_count_as_gone() -> None:
    bed = Bed()
    (a, _), (b, _) = bed.join(A), bed.join(B)
    b.outbox.block(0.0)
    bed.send(a, *[SendPacket(B, b"x")] * 4)

    bed.relay.leave(b)

    assert bed.dropped(DropReason.GONE) == 4
    assert bed.relay.counters().waiting_octets == 0


def test_keep_alives_come_every_minute_and_not_in_step() -> None:
    bed = Bed()
    _, a_wire = bed.join(A)
    late = Wire()
    bed.relay.join(B, late, who=Who(address=""), now=0.0, jitter=4.0)

    bed.relay.tick(KEEP_ALIVE - 0.1)
    bed.relay.flush()
    assert a_wire.frames() == []
    bed.relay.tick(KEEP_ALIVE)
    bed.relay.flush()
    assert (a_wire.frames(), late.frames()) == ([KeepAlive()], [])
    bed.relay.tick(2 * KEEP_ALIVE)
    bed.relay.flush()
    assert (a_wire.frames(), late.frames()) == ([KeepAlive()], [KeepAlive()])


def test_a_client_that_left_gets_no_keep_alive() -> None:
    bed = Bed()
    a, a_wire = bed.join(A)
    bed.relay.leave(a)

    bed.relay.tick(10 * KEEP_ALIVE)
    bed.relay.flush()

    assert a_wire.frames() == []


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (Ping(b"8 octets"), [Pong(b"8 octets")]),
        (Pong(b"8 octets"), []),
        (NotePreferred(preferred=True), []),
        (KeepAlive(), []),
        (Health("?"), []),
        (Unknown(0x99, b"later"), []),
        (Restarting(reconnect_in=1, try_for=1), []),
    ],
    ids=lambda v: type(v).__name__,
)
def test_each_other_frame_is_answered_or_ignored(frame: Frame, answer: list[Frame]) -> None:
    bed = Bed()
    a, a_wire = bed.join(A)

    bed.send(a, frame)

    assert a_wire.frames() == answer


@pytest.mark.parametrize(
    "frame",
    [WatchPeers(), ClosePeer(B), ForwardPacket(source=A, destination=B, payload=b"")],
    ids=lambda v: type(v).__name__,
)
def test_mesh_frames_are_refused(frame: Frame) -> None:
    bed = Bed()
    a, _ = bed.join(A)

    with pytest.raises(Malformed, match="mesh key"):
        bed.send(a, frame)


def test_garbage_raises_a_wire_error() -> None:
    bed = Bed()
    a, _ = bed.join(A)

    with pytest.raises(WireError):
        bed.relay.receive(a, bytearray(b"\x04\xff\xff\xff\xff"), 5, 0.0)


def test_expelling_a_node_closes_all_its_connections() -> None:
    bed = Bed()
    (_, one), (_, two), (_, other) = bed.join(A), bed.join(A), bed.join(B)

    assert bed.relay.expel(A) == 2
    assert one.closed == two.closed == "this node is no longer admitted"
    assert not other.closed


def test_an_announcement_reaches_everybody() -> None:
    bed = Bed()
    (_, one), (_, two) = bed.join(A), bed.join(B)
    notice = Restarting(reconnect_in=1000, try_for=2000)

    bed.relay.announce(notice)
    bed.relay.flush()

    assert one.frames() == two.frames() == [notice]


def test_counters_add_up_with_clients_that_left() -> None:
    bed = Bed()
    (a, _), (b, _) = bed.join(A), bed.join(B)
    bed.send(a, NotePreferred(preferred=True), *[SendPacket(B, bytes(100))] * 3)
    before = bed.relay.counters()
    bed.relay.leave(b)
    after = bed.relay.counters()

    assert (before.clients, before.homes) == (2, 1)
    assert (before.received_packets, before.sent_packets) == (3, 3)
    assert before.sent_octets == 3 * 137
    assert (after.clients, after.sent_packets, after.received_octets) == (1, 3, 3 * 137)
    assert set(after.dropped) == set(DropReason)
    assert [c.key for c in bed.relay.clients()] == [A]


def test_a_full_relay_says_so() -> None:
    bed = Bed(RelayLimits(clients=1))
    assert not bed.relay.full
    bed.join(A)
    assert bed.relay.full
