"""STUN: vectors of RFC 5769 and of the field, and everything that can be wrong with them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Unauthentic, WireError
from gatepost.model.netmap import Endpoint
from gatepost.wire.stun import (
    TRANSACTION_LENGTH,
    is_stun,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

TRANSACTION = bytes(range(1, 13))
V4 = Endpoint(ip_address("192.0.2.1"), 32853)
V6 = Endpoint(ip_address("2001:db8:1234:5678:11:2233:4455:6677"), 32853)
REQUEST = bytes.fromhex(
    "000100142112a4420102030405060708090a0b0c802200087461696c6e6f646580280004b32c370f"
)
ANSWER_4 = bytes.fromhex("0101000c2112a4420102030405060708090a0b0c002000080001a147e112a643")
ANSWER_6 = bytes.fromhex(
    "010100182112a4420102030405060708090a0b0c002000140002a1470113a9fa1336557c0517253b4d5f6d7b"
)
# RFC 5769 2.2 and 2.3: answers with SOFTWARE, MESSAGE-INTEGRITY and FINGERPRINT
RFC_TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
RFC_ANSWER_4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RFC_ANSWER_6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
endpoints = st.builds(
    Endpoint,
    st.one_of(
        st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
        st.builds(IPv6Address, st.integers(2**120, 2**128 - 1)),
    ),
    st.integers(1, 65535),
)


def test_a_request_has_the_bytes_that_servers_expect() -> None:
    assert write_request(TRANSACTION) == REQUEST
    assert read_request(REQUEST) == TRANSACTION


@pytest.mark.parametrize(("source", "packet"), [(V4, ANSWER_4), (V6, ANSWER_6)])
def test_an_answer_has_the_bytes_that_clients_expect(source: Endpoint, packet: bytes) -> None:
    assert write_answer(TRANSACTION, source) == packet
    assert read_answer(packet) == (TRANSACTION, source)


@pytest.mark.parametrize(("source", "packet"), [(V4, RFC_ANSWER_4), (V6, RFC_ANSWER_6)])
def test_the_answers_of_the_standard_are_read(source: Endpoint, packet: bytes) -> None:
    assert read_answer(packet) == (RFC_TRANSACTION, source)


@given(transaction=st.binary(min_size=12, max_size=12), source=endpoints)
def test_what_was_written_is_read(transaction: bytes, source: Endpoint) -> None:
    assert read_request(write_request(transaction)) == transaction
    assert read_answer(write_answer(transaction, source)) == (transaction, source)


def test_a_mapped_ipv6_source_is_told_as_ipv4() -> None:
    mapped = Endpoint(ip_address("::ffff:192.0.2.1"), 32853)

    assert write_answer(TRANSACTION, mapped) == ANSWER_4


def test_an_old_answer_with_a_plain_address_is_read() -> None:
    packet = (
        bytes.fromhex("0101000c2112a442") + TRANSACTION + bytes.fromhex("0001000800018055c0000201")
    )

    assert read_answer(packet) == (TRANSACTION, V4)


@pytest.mark.parametrize("packet", [REQUEST, ANSWER_4, ANSWER_6, RFC_ANSWER_4, RFC_ANSWER_6])
def test_every_truncation_is_refused(packet: bytes) -> None:
    for length in range(len(packet)):
        with pytest.raises(WireError):
            read_request(packet[:length])
        with pytest.raises(WireError):
            read_answer(packet[:length])


@pytest.mark.parametrize("position", [p for p in range(len(REQUEST)) if p not in range(8, 20)])
def test_a_request_with_one_flipped_bit_is_refused(position: int) -> None:
    flipped = bytearray(REQUEST)
    flipped[position] ^= 0x04

    with pytest.raises(WireError):
        read_request(bytes(flipped))


def test_a_changed_transaction_is_caught_by_the_fingerprint() -> None:
    with pytest.raises(Unauthentic, match="fingerprint"):
        read_request(REQUEST[:8] + b"\xff" + REQUEST[9:])


def test_a_request_of_other_software_is_refused() -> None:
    with pytest.raises(Malformed, match="tailnode"):
        read_request(bytes.fromhex("000100002112a442") + TRANSACTION)


def test_a_request_without_fingerprint_is_refused() -> None:
    cut = bytearray(REQUEST[:-8])
    cut[3] -= 8

    with pytest.raises(Malformed, match="does not end in its fingerprint"):
        read_request(bytes(cut))


def test_an_answer_without_address_is_refused() -> None:
    with pytest.raises(Malformed, match="without an address"):
        read_answer(bytes.fromhex("010100002112a442") + TRANSACTION)


@pytest.mark.parametrize(
    "attribute",
    ["0020000400010000", "002000080003a147e112a643", "0020000800012112e112a643"],
    ids=["too short", "unknown family", "port 0"],
)
def test_an_answer_with_a_wrong_address_is_refused(attribute: str) -> None:
    value = bytes.fromhex(attribute)
    head = b"\x01\x01" + len(value).to_bytes(2, "big") + bytes.fromhex("2112a442")

    with pytest.raises(Malformed):
        read_answer(head + TRANSACTION + value)


@given(packet=st.binary(max_size=100))
def test_garbage_raises_nothing_but_wire_errors(packet: bytes) -> None:
    for read in (read_request, read_answer):
        with pytest.raises(WireError):
            read(packet)


@pytest.mark.parametrize("length", [0, TRANSACTION_LENGTH - 1, TRANSACTION_LENGTH + 1])
def test_a_transaction_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"not {length}"):
        write_request(bytes(length))


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (REQUEST, True),
        (ANSWER_4, True),
        (REQUEST[:19], False),
        (b"\x04" + bytes(31), False),  # WireGuard data
        (b"TS\xf0\x9f\x92\xac" + bytes(30), False),  # disco
        (b"\x80" + REQUEST[1:], False),
    ],
)
def test_stun_is_told_from_its_neighbours_on_the_port(packet: bytes, *, expected: bool) -> None:
    assert is_stun(packet) is expected
    assert is_stun(memoryview(packet)) is expected
