"""DERP frames: layouts byte by byte, and everything that can be wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.model.keys import NodePublic
from gatepost.wire.derp import (
    BODY_LIMIT,
    CLIENT_INFO_LIMIT,
    HEADER_LENGTH,
    PACKET_LIMIT,
    FrameReader,
    read_frame,
    read_header,
    write_frame,
    write_packet,
)
from gatepost.wire.derp_frames import (
    ClientGreeting,
    ClientInfo,
    ClosePeer,
    ForwardPacket,
    Frame,
    GoneReason,
    Health,
    KeepAlive,
    Kind,
    NotePreferred,
    PeerGone,
    PeerPresent,
    Ping,
    Pong,
    ReceivePacket,
    Restarting,
    SendPacket,
    ServerGreeting,
    ServerInfo,
    ServerKey,
    Unknown,
    WatchPeers,
)
from gatepost.wire.go_json import read_json, write_json

A = NodePublic(b"\xaa" * 32)
B = NodePublic(b"\xbb" * 32)
BOX = bytes(range(45))
VECTORS: list[tuple[Frame, str]] = [
    (ServerKey(A), "01 00000028 44455250f09f9491" + "aa" * 32),
    (ClientInfo(A, BOX), "02 0000004d" + "aa" * 32 + BOX.hex()),
    (ServerInfo(BOX), "03 0000002d" + BOX.hex()),
    (SendPacket(A, b"hello"), "04 00000025" + "aa" * 32 + "68656c6c6f"),
    (ReceivePacket(A, b"hello"), "05 00000025" + "aa" * 32 + "68656c6c6f"),
    (KeepAlive(), "06 00000000"),
    (NotePreferred(preferred=True), "07 00000001 01"),
    (NotePreferred(preferred=False), "07 00000001 00"),
    (PeerGone(A, GoneReason.NOT_HERE), "08 00000021" + "aa" * 32 + "01"),
    (PeerPresent(A), "09 00000020" + "aa" * 32),
    (PeerPresent(A, bytes(19)), "09 00000033" + "aa" * 32 + "00" * 19),
    (
        ForwardPacket(source=A, destination=B, payload=b"!"),
        "0a 00000041" + "aa" * 32 + "bb" * 32 + "21",
    ),
    (WatchPeers(), "10 00000000"),
    (ClosePeer(A), "11 00000020" + "aa" * 32),
    (Ping(b"12345678"), "12 00000008 3132333435363738"),
    (Pong(b"12345678"), "13 00000008 3132333435363738"),
    (Health("dup"), "14 00000003 647570"),
    (Health(""), "14 00000000"),
    (Restarting(reconnect_in=256, try_for=2), "15 00000008 00000100 00000002"),
    (Unknown(0x77, b"later"), "77 00000005 6c61746572"),
]
SHORTEST = {
    Kind.SERVER_KEY: 40,
    Kind.CLIENT_INFO: 72,
    Kind.SERVER_INFO: 40,
    Kind.SEND_PACKET: 32,
    Kind.RECEIVE_PACKET: 32,
    Kind.NOTE_PREFERRED: 1,
    Kind.PEER_GONE: 32,
    Kind.PEER_PRESENT: 32,
    Kind.FORWARD_PACKET: 64,
    Kind.CLOSE_PEER: 32,
    Kind.PING: 8,
    Kind.PONG: 8,
    Kind.RESTARTING: 8,
}
keys = st.builds(NodePublic, st.binary(min_size=32, max_size=32))
tokens = st.binary(min_size=8, max_size=8)
payloads = st.binary(max_size=3000)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(ServerKey, keys),
    st.builds(ClientInfo, keys, st.binary(min_size=40, max_size=400)),
    st.builds(ServerInfo, st.binary(min_size=40, max_size=400)),
    st.builds(SendPacket, keys, payloads),
    st.builds(ReceivePacket, keys, payloads),
    st.builds(KeepAlive),
    st.builds(NotePreferred, st.booleans()),
    st.builds(PeerGone, keys, st.integers(0, 255)),
    st.builds(PeerPresent, keys, st.one_of(st.just(b""), st.binary(min_size=18, max_size=40))),
    st.builds(ForwardPacket, source=keys, destination=keys, payload=payloads),
    st.builds(WatchPeers),
    st.builds(ClosePeer, keys),
    st.builds(Ping, tokens),
    st.builds(Pong, tokens),
    st.builds(Health, st.text(st.characters(codec="utf-8"))),
    st.builds(
        Restarting, reconnect_in=st.integers(0, 2**32 - 1), try_for=st.integers(0, 2**32 - 1)
    ),
    st.builds(Unknown, st.integers(0x80, 0xFF), payloads),
)


@pytest.mark.parametrize(("frame", "text"), VECTORS, ids=lambda v: type(v).__name__)
def test_each_frame_has_the_drawn_bytes(frame: Frame, text: str) -> None:
    written = write_frame(frame)

    assert written.hex() == text.replace(" ", "")
    assert list(FrameReader().receive(written)) == [frame]


def test_every_kind_has_a_vector() -> None:
    assert {bytes.fromhex(text)[0] for _, text in VECTORS} >= set(Kind)


@given(sent=st.lists(frames, max_size=8), cut=st.integers(0, 5000))
def test_frames_come_out_whole_wherever_the_stream_is_cut(sent: list[Frame], cut: int) -> None:
    stream = b"".join(map(write_frame, sent))
    reader = FrameReader()

    received = [*reader.receive(stream[:cut]), *reader.receive(stream[cut:])]

    assert received == sent
    assert reader.rest == b""


@pytest.mark.parametrize(("kind", "length"), SHORTEST.items())
def test_a_body_that_is_too_short_is_refused(kind: Kind, length: int) -> None:
    for shorter in range(length):
        with pytest.raises(WireError):
            read_frame(kind, bytes(shorter))


@pytest.mark.parametrize("extra", range(1, 18))
def test_half_an_address_of_a_peer_is_refused(extra: int) -> None:
    with pytest.raises(Truncated, match=f"not {extra}"):
        read_frame(Kind.PEER_PRESENT, A.raw + bytes(extra))


@pytest.mark.parametrize("body", [b"\2", b"\0\0", b"\1\1"])
def test_a_preference_is_yes_or_no(body: bytes) -> None:
    with pytest.raises(Malformed, match="00 or 01"):
        read_frame(Kind.NOTE_PREFERRED, body)


def test_a_server_key_without_the_magic_is_refused() -> None:
    with pytest.raises(Malformed, match="not the DERP magic"):
        read_frame(Kind.SERVER_KEY, bytes(40))


def test_a_longer_server_key_is_read_for_later_versions() -> None:
    body = write_frame(ServerKey(A))[HEADER_LENGTH:]

    assert read_frame(Kind.SERVER_KEY, body + b"later") == ServerKey(A)


def test_a_gone_peer_without_reason_has_disconnected() -> None:
    assert read_frame(Kind.PEER_GONE, A.raw) == PeerGone(A, GoneReason.DISCONNECTED)


def test_a_health_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        read_frame(Kind.HEALTH, b"\xff")


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (Kind.CLIENT_INFO, CLIENT_INFO_LIMIT),
        (Kind.SEND_PACKET, 32 + PACKET_LIMIT),
        (Kind.RECEIVE_PACKET, 32 + PACKET_LIMIT),
        (Kind.FORWARD_PACKET, 64 + PACKET_LIMIT),
        (Kind.PING, 1000),
        (Kind.PONG, 1000),
        (Kind.HEALTH, BODY_LIMIT),
        (0x77, BODY_LIMIT),
    ],
)
def test_a_length_over_the_limit_is_refused_before_the_body_comes(kind: int, limit: int) -> None:
    assert read_header(bytes((kind,)) + limit.to_bytes(4, "big")) == (kind, limit)
    with pytest.raises(Malformed, match=f"over {limit}"):
        list(FrameReader().receive(bytes((kind,)) + (limit + 1).to_bytes(4, "big")))


def test_a_packet_over_64_kib_is_not_written() -> None:
    with pytest.raises(Malformed, match="65537 bytes is over 65536"):
        write_frame(SendPacket(A, bytes(PACKET_LIMIT + 1)))
    with pytest.raises(Malformed, match="65537 bytes is over 65536"):
        write_packet(A, bytes(PACKET_LIMIT + 1))


@given(payload=payloads)
def test_the_fast_way_to_write_a_packet_makes_the_same_bytes(payload: bytes) -> None:
    assert write_packet(A, payload) == write_frame(SendPacket(A, payload))


@given(kind=st.integers(0, 255), body=st.binary(max_size=200))
def test_garbage_reads_as_a_frame_or_raises_a_wire_error(kind: int, body: bytes) -> None:
    try:
        frame = read_frame(kind, body)
    except WireError:
        return

    assert isinstance(frame, Unknown) == (kind not in set(Kind))


def test_the_clients_greeting_is_named_as_official_servers_read_it() -> None:
    greeting = ClientGreeting(version=2, can_ack_pings=True)

    assert write_json(greeting) == b'{"version":2,"CanAckPings":true}'
    assert read_json(b'{"version":2,"CanAckPings":true,"Later":1}', ClientGreeting) == greeting


def test_the_servers_greeting_is_named_as_official_clients_read_it() -> None:
    text = b'{"version":2,"TokenBucketBytesPerSecond":1000,"TokenBucketBytesBurst":2000}'

    assert read_json(text, ServerGreeting) == ServerGreeting(version=2, rate=1000, burst=2000)
    assert write_json(ServerGreeting(version=2)) == b'{"version":2}'
