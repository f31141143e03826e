"""Control messages inside the tunnel."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.model.keys import DiscoPublic
from gatepost.wire.tsmp import (
    DiscoKey,
    Reason,
    Refused,
    TsmpMessage,
    TsmpPing,
    TsmpPong,
    read_tsmp,
    write_tsmp,
)

COOKIE = bytes(range(8))
KEY = DiscoPublic(bytes(range(32)))
REFUSED = Refused(protocol=6, reason=Reason.POLICY, source_port=40000, target_port=22)
# Written after the layout of protocol document 2.6.
VECTORS: list[tuple[TsmpMessage, str]] = [
    (TsmpPing(COOKIE), "70 0001020304050607"),
    (TsmpPong(COOKIE, 80), "6f 0001020304050607 0050"),
    (DiscoKey(KEY), "61" + KEY.raw.hex()),
    (REFUSED, "21 06 41 9c40 0016"),
]
ports = st.integers(0, 65535)
cookies = st.binary(min_size=8, max_size=8)
messages: st.SearchStrategy[TsmpMessage] = st.one_of(
    st.builds(TsmpPing, cookies),
    st.builds(TsmpPong, cookies, ports),
    st.builds(DiscoKey, st.builds(DiscoPublic, st.binary(min_size=32, max_size=32))),
    st.builds(
        Refused,
        protocol=st.integers(0, 255),
        reason=st.sampled_from(Reason),
        source_port=ports,
        target_port=ports,
        may_be_wrong=st.booleans(),
    ),
)


@pytest.mark.parametrize(("message", "text"), VECTORS)
def test_a_message_is_laid_out_as_the_field_does(message: TsmpMessage, text: str) -> None:
    assert write_tsmp(message) == bytes.fromhex(text)
    assert read_tsmp(bytes.fromhex(text)) == message


@given(messages, st.binary(max_size=4))
def test_what_was_written_is_read_back(message: TsmpMessage, more: bytes) -> None:
    assert read_tsmp(write_tsmp(message)) == message
    if not isinstance(message, Refused):
        assert read_tsmp(write_tsmp(message) + more) == message


@pytest.mark.parametrize(("message", "shortest"), [(m, len(bytes.fromhex(t))) for m, t in VECTORS])
def test_a_message_that_ends_early_is_refused(message: TsmpMessage, shortest: int) -> None:
    optional = 2 if isinstance(message, TsmpPong) else 0

    for length in range(shortest - optional):
        with pytest.raises(Truncated):
            read_tsmp(write_tsmp(message)[:length])


def test_older_nodes_leave_the_port_out() -> None:
    assert read_tsmp(b"o" + COOKIE) == TsmpPong(COOKIE, 0)


def test_types_and_reasons_of_newer_nodes_are_ignored() -> None:
    assert read_tsmp(b"?" + bytes(40)) is None
    assert read_tsmp(bytes.fromhex("21 06 7a 9c40 0016")) is None


def test_a_refusal_may_be_wrong() -> None:
    read = read_tsmp(bytes.fromhex("21 06 46 9c40 0016 01"))

    assert isinstance(read, Refused)
    assert (read.reason, read.may_be_wrong) == (Reason.NOT_FORWARDING, True)


def test_a_cookie_of_another_length_is_never_written() -> None:
    with pytest.raises(Malformed):
        write_tsmp(TsmpPing(b"short"))


@given(st.binary(max_size=60))
def test_no_message_breaks_the_reader(payload: bytes) -> None:
    with contextlib.suppress(WireError):
        message = read_tsmp(payload)

        assert message is None or write_tsmp(message)[:1] == payload[:1]
