"""The client's session: each state times each frame, and everything a server can do wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import GatepostError, Malformed, RefusedError, Unauthentic
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.sessions.derp_client import DerpSession, Event, Ready, State
from gatepost.sessions.derp_handshake import Hello, ServerHandshake
from gatepost.wire.derp import FrameReader, write_frame
from gatepost.wire.derp_frames import (
    ClientGreeting,
    Frame,
    GoneReason,
    Health,
    KeepAlive,
    PeerGone,
    Ping,
    Pong,
    ReceivePacket,
    Restarting,
    ServerInfo,
    ServerKey,
    Unknown,
)

CLIENT = NodePrivate(bytes(range(1, 33)))
SERVER = NodePrivate(bytes(range(100, 132)))
PEER = NodePublic(b"\xaa" * 32)
NONCE = bytes(24)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n"


class Bed:
    """A session and the server's half of its greeting."""

    def __init__(self) -> None:
        self.packets: list[tuple[NodePublic, bytes]] = []
        self.server = ServerHandshake(SERVER)
        self.session = DerpSession(
            CLIENT, host="relay.example", nonce=NONCE, on_packet=self._on_packet
        )
        self.request = self.session.begin()

    def _on_packet(self, source: NodePublic, payload: bytes) -> None:
        self.packets.append((source, payload))

    def advance(self, state: State) -> Bed:
        """Bring the session into `state` the right way."""
        if state is not State.UPGRADING:
            self.session.receive(SWITCHING)
        if state in {State.WELCOME, State.READY}:
            self.session.receive(self.server.greeting())
        if state is State.READY:
            self.session.receive(self.server.welcome(CLIENT.public, NONCE))
        assert self.session.state is state
        return self

    def hear(self, frame: Frame) -> tuple[list[Event], list[Frame]]:
        events, answer = self.session.receive(write_frame(frame))
        return events, list(FrameReader().receive(answer))


def test_the_request_asks_for_derp() -> None:
    head = Bed().request.decode().split("\r\n")

    assert head[0] == "GET /derp HTTP/1.1"
    assert {"Host: relay.example", "Upgrade: DERP", "Connection: Upgrade"} <= set(head)


def test_the_whole_greeting_in_one_piece_makes_ready() -> None:
    bed = Bed()
    welcome = bed.server.welcome(CLIENT.public, NONCE)

    events, _ = bed.session.receive(SWITCHING + bed.server.greeting() + welcome)

    assert events == [Ready(SERVER.public)]


def test_the_greeting_octet_by_octet_makes_ready() -> None:
    bed = Bed()
    stream = SWITCHING + bed.server.greeting() + bed.server.welcome(CLIENT.public, NONCE)
    events: list[Event] = []

    for octet in stream:
        assert bed.session.state is not State.READY
        events += bed.session.receive(bytes((octet,)))[0]

    assert events == [Ready(SERVER.public)]


def test_the_client_proves_its_key_to_the_server() -> None:
    bed = Bed().advance(State.GREETING)

    _, answer = bed.session.receive(bed.server.greeting())

    assert bed.server.read_hello(answer) == (
        Hello(CLIENT.public, ClientGreeting(version=2, can_ack_pings=True)),
        len(answer),
    )


@pytest.mark.parametrize("status", [200, 301, 404, 426, 503])
def test_a_server_without_a_relay_is_refused_with_its_answer(status: int) -> None:
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()

    with pytest.raises(RefusedError, match=str(status)):
        Bed().session.receive(answer)


@pytest.mark.parametrize("answer", [b"\x16\x03\x01garbage\r\n\r\n", b"x" * 20_000])
def test_a_server_that_does_not_speak_http_is_refused(answer: bytes) -> None:
    with pytest.raises(Malformed):
        Bed().session.receive(answer)


ORDINARY: list[Frame] = [
    KeepAlive(),
    Unknown(0x99, b"later"),
    Pong(b"8 octets"),
    Ping(b"8 octets"),
    Health("dup"),
    PeerGone(PEER, GoneReason.NOT_HERE),
    Restarting(reconnect_in=1, try_for=2),
    ReceivePacket(PEER, b"x"),
]


@pytest.mark.parametrize("frame", [*ORDINARY, ServerInfo(bytes(60))], ids=repr)
def test_a_server_begins_with_its_key(frame: Frame) -> None:
    with pytest.raises(Malformed, match="begins with its key"):
        Bed().advance(State.GREETING).hear(frame)


@pytest.mark.parametrize("state", [State.WELCOME, State.READY])
@pytest.mark.parametrize("frame", ORDINARY, ids=repr)
def test_each_frame_is_an_event_or_answered_or_ignored(state: State, frame: Frame) -> None:
    events, answers = Bed().advance(state).hear(frame)

    is_event = isinstance(frame, Health | PeerGone | Restarting)
    assert events == ([frame] if is_event else [])
    assert answers == ([Pong(frame.token)] if isinstance(frame, Ping) else [])


def test_packets_count_only_after_the_welcome() -> None:
    early, ready = Bed().advance(State.WELCOME), Bed().advance(State.READY)
    for bed in (early, ready):
        bed.hear(ReceivePacket(PEER, b"hello"))

    assert early.packets == []
    assert ready.packets == [(PEER, b"hello")]


def test_a_welcome_sealed_by_somebody_else_is_refused() -> None:
    bed = Bed().advance(State.WELCOME)
    impostor = ServerHandshake(NodePrivate(b"\x09" * 32))

    with pytest.raises(Unauthentic):
        bed.session.receive(impostor.welcome(CLIENT.public, NONCE))


@given(cuts=st.lists(st.integers(0, 6000), max_size=5), count=st.integers(1, 6))
def test_packets_come_whole_wherever_the_stream_is_cut(cuts: list[int], count: int) -> None:
    bed = Bed().advance(State.READY)
    sent = [(PEER, bytes([i]) * (i * 300)) for i in range(count)]
    stream = b"".join(write_frame(ReceivePacket(*packet)) for packet in sent)
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]

    for first, last in pairwise(edges):
        bed.session.receive(stream[first:last])

    assert bed.packets == sent


@given(garbage=st.binary(max_size=200), state=st.sampled_from(State))
def test_garbage_in_any_state_raises_nothing_but_our_errors(garbage: bytes, state: State) -> None:
    bed = Bed().advance(state)
    try:
        bed.session.receive(garbage)
    except GatepostError:
        return

    assert bed.packets == [] or state is State.READY


def test_a_server_key_in_the_middle_is_ignored() -> None:
    assert Bed().advance(State.READY).hear(ServerKey(PEER)) == ([], [])
