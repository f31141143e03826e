"""Readdressing in place: the same frames as one by one, however they are mixed and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.model.keys import NodePublic
from gatepost.wire.derp import DISCO_MAGIC, FrameReader, write_frame
from gatepost.wire.derp_batch import holds_disco, is_disco, readdress, split
from gatepost.wire.derp_frames import (
    Frame,
    KeepAlive,
    NotePreferred,
    Ping,
    ReceivePacket,
    SendPacket,
)

ME = NodePublic(b"\x11" * 32)
A = NodePublic(b"\xaa" * 32)
B = NodePublic(b"\xbb" * 32)
packets = st.builds(
    SendPacket, st.sampled_from([A, B]), st.sampled_from([b"", b"x", bytes(1400), A.raw * 3])
)
sent_frames: st.SearchStrategy[Frame] = st.one_of(
    packets, packets, packets, st.just(NotePreferred(preferred=True)), st.just(Ping(b"8 octets"))
)


@given(
    sent=st.lists(sent_frames, max_size=30),
    missing=st.integers(0, 50),
    before=st.binary(max_size=50),
)
def test_a_batch_is_what_reading_frame_by_frame_would_give(
    sent: list[Frame], missing: int, before: bytes
) -> None:
    stream = b"".join(map(write_frame, sent))
    end = max(0, len(stream) - missing)
    buffer = bytearray(before + stream) + b"left from an earlier read"
    whole = list(FrameReader().receive(stream[:end]))

    batch = readdress(buffer, len(before) + end, ME.raw, len(before))

    assert buffer.startswith(before)
    assert batch.others == [f for f in whole if not isinstance(f, SendPacket)]
    assert batch.used == sum(len(write_frame(f)) for f in whole)
    assert _delivered(buffer, batch.runs) == [
        (f.destination, ReceivePacket(ME, f.payload)) for f in whole if isinstance(f, SendPacket)
    ]


def test_neighbours_with_one_destination_leave_as_one_slice_whatever_their_sizes() -> None:
    stream = bytearray(
        b"".join(write_frame(SendPacket(A, bytes(n))) for n in (1400, 1400, 90, 1400))
    )

    batch = readdress(stream, len(stream), ME.raw)

    assert batch.runs == [(A.raw, 0, len(stream), 4)]


def test_a_frame_of_another_kind_ends_a_slice() -> None:
    packet = write_frame(SendPacket(A, b"x"))
    stream = bytearray(packet + write_frame(Ping(b"8 octets")) + packet)

    batch = readdress(stream, len(stream), ME.raw)

    assert [(first, stop) for _, first, stop, _ in batch.runs] == [
        (0, len(packet)),
        (len(packet) + 13, len(stream)),
    ]


@pytest.mark.parametrize("length", range(32))
def test_a_packet_without_a_whole_destination_is_refused(length: int) -> None:
    frame = bytearray(b"\x04" + length.to_bytes(4, "big") + bytes(length))

    with pytest.raises(Truncated, match=f"not {length}"):
        readdress(frame, len(frame), ME.raw)


def test_a_packet_over_64_kib_is_refused_by_its_header() -> None:
    with pytest.raises(Malformed, match="over 65568"):
        readdress(bytearray(b"\x04\x00\x01\x00\x21"), 5, ME.raw)


@given(stream=st.binary(max_size=300))
def test_garbage_raises_nothing_but_wire_errors(stream: bytes) -> None:
    try:
        batch = readdress(bytearray(stream), len(stream), ME.raw)
    except WireError:
        return

    assert 0 <= batch.used <= len(stream)


def test_discovery_is_found_in_a_run_of_other_packets() -> None:
    plain = write_frame(ReceivePacket(A, DISCO_MAGIC[:-1] + b"x"))
    disco = write_frame(ReceivePacket(A, DISCO_MAGIC + bytes(60)))

    assert [is_disco(f) for f in split(plain + disco)] == [False, True]
    assert holds_disco(memoryview(plain + disco))
    assert not holds_disco(memoryview(plain + plain))


def test_splitting_gives_back_the_frames() -> None:
    frames = [write_frame(f) for f in (SendPacket(A, b"1"), SendPacket(B, b""), KeepAlive())]

    assert split(b"".join(frames)) == frames


def _delivered(
    buffer: bytearray, runs: list[tuple[bytes, int, int, int]]
) -> list[tuple[NodePublic, Frame]]:
    found: list[tuple[NodePublic, Frame]] = []
    for key, first, stop, count in runs:
        frames = list(FrameReader().receive(bytes(buffer[first:stop])))
        assert len(frames) == count
        found += [(NodePublic(key), frame) for frame in frames]
    return found
