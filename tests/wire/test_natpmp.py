"""NAT-PMP: the packets of RFC 6886, and everything that can be wrong with them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, WireError
from gatepost.wire.natpmp import (
    AddressAnswer,
    AddressRequest,
    Answer,
    MapAnswer,
    MapRequest,
    Refusal,
    Request,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

REQUESTS: list[tuple[Request, str]] = [
    (AddressRequest(), "0000"),
    (MapRequest(internal=41641, external=5000, lifetime=7200), "00010000a2a9138800001c20"),
]
ANSWERS: list[tuple[Answer, str]] = [
    (AddressAnswer(epoch=258, address=IPv4Address("203.0.113.9")), "0080000000000102cb007109"),
    (
        MapAnswer(epoch=1, internal=41641, external=5000, lifetime=7200),
        "0081000000000001a2a9138800001c20",
    ),
    (Refusal(epoch=9, result=2, is_map=True), "0081000200000009"),
    (Refusal(epoch=9, result=3, is_map=False), "0080000300000009"),
]
ports, numbers = st.integers(0, 65535), st.integers(0, 2**32 - 1)
requests = st.one_of(
    st.just(AddressRequest()),
    st.builds(MapRequest, internal=ports, external=ports, lifetime=numbers),
)
answers = st.one_of(
    st.builds(AddressAnswer, epoch=numbers, address=st.builds(IPv4Address, numbers)),
    st.builds(MapAnswer, epoch=numbers, internal=ports, external=ports, lifetime=numbers),
    st.builds(Refusal, epoch=numbers, result=st.integers(1, 65535), is_map=st.booleans()),
)


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


@pytest.mark.parametrize("digits", [d for _, d in REQUESTS])
def test_every_truncation_of_a_request_is_refused(digits: str) -> None:
    packet = bytes.fromhex(digits)
    for length in range(len(packet)):
        with pytest.raises(WireError):
            read_request(packet[:length])


@pytest.mark.parametrize("digits", [d for _, d in ANSWERS])
def test_every_truncation_of_an_answer_is_refused(digits: str) -> None:
    packet = bytes.fromhex(digits)
    for length in range(len(packet)):
        with pytest.raises(WireError):
            read_answer(packet[:length])


@pytest.mark.parametrize("first", [1, 2, 255])
def test_another_version_is_refused(first: int) -> None:
    with pytest.raises(Malformed, match="version"):
        read_answer(bytes([first]) + bytes.fromhex(ANSWERS[0][1])[1:])
    with pytest.raises(Malformed, match="version"):
        read_request(bytes([first, 0]))


@pytest.mark.parametrize("operation", [o for o in range(256) if o not in {0x80, 0x81}])
def test_an_answer_to_another_operation_is_refused(operation: int) -> None:
    with pytest.raises(Malformed, match=str(operation)):
        read_answer(bytes([0, operation]) + bytes(14))


def test_a_request_for_tcp_is_refused() -> None:
    with pytest.raises(Malformed, match="2"):
        read_request(bytes.fromhex("00020000a2a9138800001c20"))


def test_every_refusal_has_words() -> None:
    assert Refusal(epoch=0, result=3, is_map=False).reason == "the gateway has no public address"
    assert Refusal(epoch=0, result=77, is_map=False).reason == "result 77"


@given(packet=st.binary(max_size=64))
def test_noise_is_an_answer_or_a_wire_error(packet: bytes) -> None:
    for read in (read_answer, read_request):
        try:
            read(packet)
        except WireError:
            continue
