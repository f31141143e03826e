"""Several connections with one key: one gets the packets, and a cloned machine is noticed."""

from __future__ import annotations

import pytest
from tests.sessions.derp_bed import A, B, Bed

from gatepost.sessions.derp_duplicates import PROBLEM
from gatepost.wire.derp_frames import (
    GoneReason,
    Health,
    NotePreferred,
    PeerGone,
    ReceivePacket,
    SendPacket,
)


def test_the_newest_of_two_connections_gets_the_packets() -> None:
    bed = Bed()
    (a, _), (_, old), (_, new) = bed.join(A), bed.join(B), bed.join(B)

    bed.send(a, SendPacket(B, b"x"))

    assert (old.frames(), new.frames()) == ([], [ReceivePacket(A, b"x")])


def test_the_connection_that_spoke_last_gets_the_packets() -> None:
    bed = Bed()
    (a, _), (old_client, old), (_, new) = bed.join(A), bed.join(B), bed.join(B)
    bed.send(old_client, NotePreferred(preferred=True))

    bed.send(a, SendPacket(B, b"x"))

    assert (old.frames(), new.frames()) == ([ReceivePacket(A, b"x")], [])


def test_two_machines_with_one_key_are_both_told() -> None:
    bed = Bed()
    (first, one), (second, two) = bed.join(B), bed.join(B)
    for client in (first, second, first, second):
        bed.send(client, NotePreferred(preferred=True))

    assert one.frames() == two.frames() == [Health(PROBLEM)]
    assert bed.relay.counters().duplicates == 1


def test_a_reconnect_is_not_taken_for_two_machines() -> None:
    bed = Bed()
    (old, _), (new, wire) = bed.join(B), bed.join(B)
    bed.send(old, NotePreferred(preferred=True))
    bed.send(new, NotePreferred(preferred=True))
    bed.relay.leave(old)
    bed.relay.flush()

    assert wire.frames() == []
    assert bed.relay.counters().duplicates == 0


def test_health_is_well_again_when_one_of_two_machines_leaves() -> None:
    bed = Bed()
    (first, one), (second, _) = bed.join(B), bed.join(B)
    for client in (first, second, first):
        bed.send(client, NotePreferred(preferred=True))
    one.frames()

    bed.relay.leave(second)
    bed.relay.flush()

    assert one.frames() == [Health("")]


def test_a_third_machine_hears_of_the_fight_at_once() -> None:
    bed = Bed()
    (first, _), (second, _) = bed.join(B), bed.join(B)
    for client in (first, second, first):
        bed.send(client, NotePreferred(preferred=True))

    _, third = bed.join(B)
    bed.relay.flush()

    assert third.frames() == [Health(PROBLEM)]


@pytest.mark.parametrize("leaver", [0, 1, 2])
def test_a_key_stays_reachable_while_any_of_its_connections_is_left(leaver: int) -> None:
    bed = Bed()
    a, a_wire = bed.join(A)
    members = [bed.join(B) for _ in range(3)]
    bed.send(members[0][0], SendPacket(A, b"hello"))
    a_wire.frames()

    bed.relay.leave(members.pop(leaver)[0])
    bed.send(a, SendPacket(B, b"x"))
    reached = [wire.frames() for _, wire in members]
    for client, _ in members:
        bed.relay.leave(client)
    bed.relay.flush()

    assert sorted(map(len, reached)) == [0, 1]
    assert a_wire.frames() == [PeerGone(B, GoneReason.DISCONNECTED)]
