"""The server's half of the greeting: only who proves its key comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Unauthentic, WireError
from gatepost.model.keys import NodePrivate
from gatepost.sessions.derp_handshake import GREETING_LIMIT, Hello, ServerHandshake
from gatepost.wire.box import SharedKeys
from gatepost.wire.derp import write_frame
from gatepost.wire.derp_frames import ClientGreeting, ClientInfo, KeepAlive, SendPacket
from gatepost.wire.go_json import write_json

CLIENT = NodePrivate(bytes(range(1, 33)))
SERVER = NodePrivate(bytes(range(100, 132)))


def make_hello(text: bytes = b'{"version":2}') -> bytes:
    sealed = SharedKeys(CLIENT).seal(SERVER.public, text, bytes(24))
    return write_frame(ClientInfo(CLIENT.public, sealed))


def test_a_client_with_its_key_is_heard() -> None:
    greeting = ClientGreeting(version=2, is_prober=True, app_name="x")
    hello = make_hello(write_json(greeting))

    assert ServerHandshake(SERVER).read_hello(hello + b"more") == (
        Hello(CLIENT.public, greeting),
        len(hello),
    )


def test_every_truncation_waits_for_the_rest() -> None:
    hello = make_hello()
    server = ServerHandshake(SERVER)

    assert {server.read_hello(hello[:n]) for n in range(len(hello))} == {None}


@pytest.mark.parametrize("position", range(5, len(make_hello())))
def test_a_greeting_with_one_flipped_bit_is_refused(position: int) -> None:
    flipped = bytearray(make_hello())
    flipped[position] ^= 1

    with pytest.raises(Unauthentic):
        ServerHandshake(SERVER).read_hello(bytes(flipped))


@pytest.mark.parametrize("version", [0, 1])
def test_an_older_protocol_is_refused(version: int) -> None:
    with pytest.raises(Malformed, match=f"version {version}"):
        ServerHandshake(SERVER).read_hello(make_hello(b'{"version":%d}' % version))


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version":"2"}', b"\xff"])
def test_a_greeting_that_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        ServerHandshake(SERVER).read_hello(make_hello(text))


@pytest.mark.parametrize(
    "frame", [KeepAlive(), SendPacket(CLIENT.public, b"x")], ids=lambda f: type(f).__name__
)
def test_nothing_comes_before_the_greeting(frame: KeepAlive | SendPacket) -> None:
    with pytest.raises(Malformed, match="before the greeting"):
        ServerHandshake(SERVER).read_hello(write_frame(frame))


def test_a_long_greeting_is_refused_before_it_has_come() -> None:
    with pytest.raises(Malformed, match=f"over {GREETING_LIMIT}"):
        ServerHandshake(SERVER).read_hello(b"\x02" + (GREETING_LIMIT + 1).to_bytes(4, "big"))


@given(received=st.binary(max_size=200))
def test_garbage_waits_or_raises_a_wire_error(received: bytes) -> None:
    try:
        found = ServerHandshake(SERVER).read_hello(received)
    except WireError:
        return

    assert found is None
