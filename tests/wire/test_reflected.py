"""Datagrams of a LAN on their way between boxes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.wire.reflected import (
    LONGEST,
    NUMBERED,
    Kind,
    Reflected,
    kind_of_ssdp,
    read_reflected,
    write_reflected,
)

# "_http._tcp.local" asked for with mDNS: identifier 0, one question, PTR, IN.
QUESTION = bytes.fromhex(
    "0000 0000 0001 0000 0000 0000 055f68747470 045f746370 056c6f63616c 00 000c 0001"
)
NEWS = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n"
SEARCH = b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\n\r\n'
ANSWER = b"HTTP/1.1 200 OK\r\nLOCATION: http://10.2.0.2/\r\n\r\n"
WHOLE = {
    Kind.MDNS_V4: QUESTION,
    Kind.MDNS_V6: QUESTION,
    Kind.SSDP_NEWS: NEWS,
    Kind.SSDP_SEARCH: SEARCH,
    Kind.SSDP_ANSWER: ANSWER,
}


def make(kind: Kind, number: int = 0) -> Reflected:
    return Reflected(kind, WHOLE[kind], number if kind in NUMBERED else 0)


def test_the_head_is_as_drawn() -> None:
    assert write_reflected(make(Kind.MDNS_V6)) == b"\x01\x02" + QUESTION
    assert write_reflected(make(Kind.SSDP_SEARCH, 258)) == bytes.fromhex("010400000102") + SEARCH


@given(st.sampled_from(Kind), st.integers(0, 2**32 - 1))
def test_what_was_written_is_read_back(kind: Kind, number: int) -> None:
    assert read_reflected(write_reflected(make(kind, number))) == make(kind, number)


@pytest.mark.parametrize("kind", Kind)
def test_a_cut_in_the_head_is_refused(kind: Kind) -> None:
    raw = write_reflected(make(kind))

    for length in range(len(raw) - len(WHOLE[kind]) + 1):
        with pytest.raises((Truncated, Malformed)):
            read_reflected(raw[:length])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x02\x01" + QUESTION,
        b"\x01\x00" + QUESTION,
        b"\x01\x06" + QUESTION,
        b"\x01\x01" + QUESTION[:11],
        b"\x01\x01" + QUESTION[:2] + b"\x28" + QUESTION[3:],  # an update (RFC 2136)
        b"\x01\x03" + SEARCH,
        b"\x01\x03GET / HTTP/1.1\r\n\r\n",
        b"\x01\x01" + QUESTION + bytes(LONGEST),
    ],
    ids=["version", "kind 0", "kind 6", "short", "opcode", "search as news", "web", "long"],
)
def test_what_is_not_what_it_says_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_reflected(raw)


@given(st.binary(max_size=60))
def test_noise_is_refused_or_reads_as_itself(noise: bytes) -> None:
    try:
        found = read_reflected(noise)
    except WireError:
        return
    assert write_reflected(found) == noise


def test_news_and_searches_are_told_apart_and_nothing_else_is_heard() -> None:
    assert kind_of_ssdp(NEWS) is Kind.SSDP_NEWS
    assert kind_of_ssdp(SEARCH) is Kind.SSDP_SEARCH
    with pytest.raises(Malformed):
        kind_of_ssdp(ANSWER)
