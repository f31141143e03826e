"""PCP: the packets of RFC 6887, and everything that can be wrong with them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, WireError
from gatepost.model.netmap import IPAddress
from gatepost.wire.pcp import (
    LONGEST,
    Announce,
    Announced,
    Answer,
    Map,
    Mapped,
    Request,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

NONCE = bytes(range(12))
US, OUTSIDE = ip_address("192.168.1.2"), ip_address("203.0.113.9")
REQUESTS: list[tuple[Request, str]] = [
    (Announce(US), "020000000000000000000000000000000000ffffc0a80102"),
    (
        Map(client=US, nonce=NONCE, internal=41641, external=5000, lifetime=7200),
        "0201000000001c2000000000000000000000ffffc0a80102000102030405060708090a0b11000000a2a9138800000000000000000000ffff00000000",
    ),
]
ANSWERS: list[tuple[Answer, str]] = [
    (Announced(258), "028000000000000000000102000000000000000000000000"),
    (Announced(5, 2), "028000020000000000000005000000000000000000000000"),
    (
        Mapped(
            epoch=258, lifetime=7200, nonce=NONCE, internal=41641, external=5000, address=OUTSIDE
        ),
        "0281000000001c2000000102000000000000000000000000000102030405060708090a0b11000000a2a9138800000000000000000000ffffcb007109",
    ),
]
ports, numbers = st.integers(0, 65535), st.integers(0, 2**32 - 1)
nonces = st.binary(min_size=12, max_size=12)
addresses: st.SearchStrategy[IPAddress] = st.one_of(
    st.builds(IPv4Address, numbers),
    st.builds(IPv6Address, st.integers(2**120, 2**128 - 1)),
)
requests = st.one_of(
    st.builds(Announce, addresses),
    st.builds(
        Map, client=addresses, nonce=nonces, internal=ports, external=ports, address=addresses,
        lifetime=numbers,
    ),
)  # fmt: skip
answers = st.one_of(
    st.builds(Announced, numbers, st.integers(0, 255)),
    st.builds(
        Mapped, epoch=numbers, result=st.integers(0, 255), lifetime=numbers, nonce=nonces,
        internal=ports, external=ports, address=addresses,
    ),
)  # fmt: skip


@pytest.mark.parametrize(("request_", "digits"), REQUESTS)
def test_requests_have_the_bytes_of_the_standard(request_: Request, digits: str) -> None:
    assert write_request(request_).hex() == digits
    assert read_request(bytes.fromhex(digits)) == request_


@pytest.mark.parametrize(("answer", "digits"), ANSWERS)
def test_answers_have_the_bytes_of_the_standard(answer: Answer, digits: str) -> None:
    assert write_answer(answer).hex() == digits
    assert read_answer(bytes.fromhex(digits)) == answer


@given(request_=requests, answer=answers)
def test_what_was_written_is_read(request_: Request, answer: Answer) -> None:
    assert read_request(write_request(request_)) == request_
    assert read_answer(write_answer(answer)) == answer


@pytest.mark.parametrize("digits", [d for _, d in (*REQUESTS, *ANSWERS)])
def test_every_truncation_is_refused(digits: str) -> None:
    packet = bytes.fromhex(digits)
    read = read_answer if packet[1] & 0x80 else read_request
    for length in range(len(packet)):
        with pytest.raises(WireError):
            read(packet[:length])


def test_options_behind_an_answer_are_passed_over() -> None:
    option = bytes.fromhex("02000000")

    assert read_answer(bytes.fromhex(ANSWERS[2][1]) + option) == ANSWERS[2][0]


@pytest.mark.parametrize("first", [0, 1, 3, 255])
def test_another_version_is_refused(first: int) -> None:
    with pytest.raises(Malformed, match="version"):
        read_answer(bytes([first]) + bytes.fromhex(ANSWERS[0][1])[1:])


@pytest.mark.parametrize("operation", [o for o in range(256) if o not in {0x80, 0x81}])
def test_an_answer_to_another_operation_is_refused(operation: int) -> None:
    with pytest.raises(Malformed, match=str(operation)):
        read_answer(bytes([2, operation]) + bytes(58))


def test_a_packet_that_is_too_long_or_not_of_whole_words_is_refused() -> None:
    for length in (LONGEST + 4, 61, 62, 63):
        with pytest.raises(Malformed, match=str(length)):
            read_answer(bytes([2, 0x81]) + bytes(length - 2))


def test_a_mapping_of_tcp_is_refused() -> None:
    packet = bytearray.fromhex(ANSWERS[2][1])
    packet[36] = 6

    with pytest.raises(Malformed, match="protocol 6"):
        read_answer(bytes(packet))


def test_a_nonce_of_another_length_cannot_be_sent() -> None:
    with pytest.raises(Malformed, match="11"):
        write_request(Map(client=US, nonce=bytes(11), internal=1, lifetime=1))


def test_every_result_has_words() -> None:
    assert Announced(1, 12).reason == "another NAT stands between this host and the gateway"
    assert Announced(1, 200).reason == "result 200"


@given(packet=st.binary(max_size=80))
def test_noise_is_a_packet_or_a_wire_error(packet: bytes) -> None:
    for read in (read_answer, read_request):
        try:
            read(packet)
        except WireError:
            continue
