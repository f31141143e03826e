"""The promises of the control channel's encryption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, RefusedError, Truncated, Unauthentic, WireError
from gatepost.model.keys import MachinePrivate, MachinePublic
from gatepost.wire import noise

VECTORS: dict[str, Any] = json.loads(  # made with an independent implementation
    (Path(__file__).parent / "vectors" / "noise.json").read_text()
)
MACHINE = MachinePrivate(bytes.fromhex(VECTORS["machine_private"]))
SERVER = MachinePrivate(bytes.fromhex(VECTORS["server_private"]))
CLIENT_EPHEMERAL = bytes.fromhex(VECTORS["client_ephemeral"])
SERVER_EPHEMERAL = bytes.fromhex(VECTORS["server_ephemeral"])
VERSION: int = VECTORS["version"]


def start(server: MachinePublic | None = None) -> noise.Initiation:
    return noise.Initiation(MACHINE, server or SERVER.public, VERSION, CLIENT_EPHEMERAL)


def connect() -> tuple[noise.Transport, noise.Transport]:
    """Return the client's and the server's transport."""
    first = start()
    accepted = noise.respond(SERVER, first.message, SERVER_EPHEMERAL)
    return first.finish(accepted.response), accepted.transport


def flipped(message: bytes, position: int) -> bytes:
    return message[:position] + bytes([message[position] ^ 1]) + message[position + 1 :]


# --- the handshake ------------------------------------------------------------------------


def test_the_handshake_has_the_bytes_of_the_official_implementation() -> None:
    first = start()
    accepted = noise.respond(SERVER, first.message, SERVER_EPHEMERAL)

    assert first.message.hex() == VECTORS["initiation"]
    assert accepted.response.hex() == VECTORS["response"]
    assert (accepted.machine, accepted.version) == (MACHINE.public, VERSION)
    assert noise.initiation_version(first.message) == VERSION


def test_the_records_have_the_bytes_of_the_official_implementation() -> None:
    client, server = connect()
    for text, to_server, to_client in zip(
        VECTORS["plain"], VECTORS["client_to_server"], VECTORS["server_to_client"], strict=True
    ):
        plain = bytes.fromhex(text)

        assert client.seal(plain).hex() == to_server
        assert server.seal(plain).hex() == to_client
        assert server.open(bytes.fromhex(to_server)) == plain
        assert client.open(bytes.fromhex(to_client)) == plain


@pytest.mark.parametrize("position", range(noise.INITIATION_LENGTH))
def test_a_flipped_bit_in_the_initiation_is_refused(position: int) -> None:
    with pytest.raises((Malformed, Unauthentic)):
        noise.respond(SERVER, flipped(start().message, position), SERVER_EPHEMERAL)


@pytest.mark.parametrize("position", range(noise.RESPONSE_LENGTH))
def test_a_flipped_bit_in_the_response_is_refused(position: int) -> None:
    first = start()
    accepted = noise.respond(SERVER, first.message, SERVER_EPHEMERAL)

    with pytest.raises((WireError, RefusedError)):
        first.finish(flipped(accepted.response, position))


@pytest.mark.parametrize("length", [*range(noise.INITIATION_LENGTH), noise.INITIATION_LENGTH + 1])
def test_an_initiation_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=str(length)):
        noise.respond(SERVER, (start().message + b"x")[:length], SERVER_EPHEMERAL)


@pytest.mark.parametrize("length", [*range(noise.RESPONSE_LENGTH), noise.RESPONSE_LENGTH + 1])
def test_a_response_of_another_length_is_refused(length: int) -> None:
    first = start()
    accepted = noise.respond(SERVER, first.message, SERVER_EPHEMERAL)

    with pytest.raises(Malformed):
        first.finish((accepted.response + b"x")[:length])


def test_a_client_that_knows_another_server_is_refused() -> None:
    first = start(MachinePrivate(bytes(range(32))).public)

    with pytest.raises(Unauthentic):
        noise.respond(SERVER, first.message, SERVER_EPHEMERAL)


def test_a_point_of_small_order_is_refused() -> None:
    message = start().message

    with pytest.raises(Unauthentic):
        noise.respond(SERVER, message[:5] + bytes(32) + message[37:], SERVER_EPHEMERAL)


def test_the_server_s_reason_reaches_the_client() -> None:
    message = noise.write_error("too old: märz")

    assert noise.response_length(message[:3]) == len(message)
    with pytest.raises(RefusedError, match=r"^too old: märz$"):
        start().finish(message)


def test_a_reason_cannot_steer_the_terminal() -> None:
    with pytest.raises(RefusedError, match=r"^\ufffd\[2Jx$"):
        start().finish(noise.write_error("\x1b[2Jx"))


@pytest.mark.parametrize("text", ["", "x" * 0xFFFF, "x" * 0x10000])
def test_a_reason_has_at_most_64_kib(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        start().finish(noise.write_error(text))

    assert str(caught.value) == text[:0xFFFF]


@pytest.mark.parametrize("cut", range(6))
def test_a_cut_reason_is_refused(cut: int) -> None:
    with pytest.raises((Malformed, Truncated)):
        start().finish(noise.write_error("abc")[: -cut - 1])


@pytest.mark.parametrize("head", [b"\x02\x00\x2f", b"\x04\x00\x30", b"\x00\x00\x00", b"HTT"])
def test_another_head_of_the_response_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed, match=head.hex()):
        noise.response_length(head)


@pytest.mark.parametrize("head", [b"", b"\x02", b"\x02\x00"])
def test_a_cut_head_of_the_response_is_truncated(head: bytes) -> None:
    with pytest.raises(Truncated):
        noise.response_length(head)


# --- records --------------------------------------------------------------------------------


def test_no_bytes_are_no_record() -> None:
    client, _ = connect()

    assert client.seal(b"") == b""


@pytest.mark.parametrize("size", [1, noise.PLAIN_LIMIT, noise.PLAIN_LIMIT + 1, 100_000])
def test_no_record_is_longer_than_4096_bytes_and_few_are_used(size: int) -> None:
    client, server = connect()
    sealed = client.seal(bytes(size))
    records = -(-size // noise.PLAIN_LIMIT)

    assert len(sealed) == size + records * 19
    assert server.open(sealed[: noise.FRAME_LIMIT]) == bytes(min(size, noise.PLAIN_LIMIT))


@given(st.lists(st.binary(max_size=9000), max_size=8), st.data())
def test_a_stream_survives_any_cut(pieces: list[bytes], data: st.DataObject) -> None:
    client, server = connect()
    sealed = b"".join(client.seal(piece) for piece in pieces)
    plain = b""
    while sealed:
        size = data.draw(st.integers(min_value=1, max_value=len(sealed)))
        plain += server.open(sealed[:size])
        sealed = sealed[size:]

    assert plain == b"".join(pieces)


def test_an_empty_record_is_legal() -> None:
    client, server = connect()
    first = client.seal(b"x")
    assert server.open(first) == b"x"
    empty = client._outgoing.encrypt(b"\0\0\0\0\0\0\0\0\0\0\0\1", b"", None)  # pyright: ignore[reportPrivateUsage]  # we never write one
    client._sent += 1  # pyright: ignore[reportPrivateUsage]  # as above

    assert server.open(b"\x04\x00\x10" + empty + client.seal(b"y")) == b"y"


def test_a_lost_or_repeated_record_is_refused() -> None:
    client, server = connect()
    first, second = client.seal(b"1"), client.seal(b"2")
    with pytest.raises(Unauthentic):
        connect()[1].open(second)
    server.open(first)
    with pytest.raises(Unauthentic, match="record 1"):
        server.open(first)


@pytest.mark.parametrize("position", range(len(b"plain") + 19))
def test_a_flipped_bit_in_a_record_is_never_read(position: int) -> None:
    client, server = connect()
    sealed = flipped(client.seal(b"plain"), position)
    try:
        plain = server.open(sealed)
    except WireError:
        return
    assert plain == b""  # a longer length: the rest is waited for


@pytest.mark.parametrize("head", [b"\x04\x00\x0f", b"\x04\x0f\xfe", b"\x04\xff\xff", b"\x02", b"G"])
def test_a_wrong_head_is_refused_before_the_rest_is_there(head: bytes) -> None:
    with pytest.raises(Malformed):
        connect()[1].open(head)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_waited_for(garbage: bytes) -> None:
    try:
        plain = connect()[1].open(garbage)
    except WireError:
        return
    assert plain == b""
