"""ICMP echo. The vector is an echo request as ping(8) sends it, with its checksum by RFC 1071."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated
from gatepost.wire.icmp import REPLY, Echo, internet_checksum, read_echo, write_request

VECTOR = bytes.fromhex("0800 4d5a 0001 0001 6162 6364656667 6869".replace(" ", ""))


def test_the_checksum_of_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


def test_the_checksum_of_a_message_with_its_checksum_is_zero() -> None:
    raw = write_request(Echo(False, 1, 2, b"odd"), 4)

    assert internet_checksum(raw) == 0


@pytest.mark.parametrize("version", [4, 6])
@given(
    identifier=st.integers(0, 65535), sequence=st.integers(0, 65535), payload=st.binary(max_size=64)
)
def test_what_is_written_is_read_back(
    version: int, identifier: int, sequence: int, payload: bytes
) -> None:
    echo = Echo(False, identifier, sequence, payload)

    assert read_echo(write_request(echo, version), version) == echo


@pytest.mark.parametrize("version", [4, 6])
def test_a_reply_is_told_from_a_request(version: int) -> None:
    raw = bytes((REPLY[version],)) + write_request(Echo(False, 1, 2, b""), version)[1:]

    assert read_echo(raw, version).is_reply


@pytest.mark.parametrize("length", range(8))
def test_every_truncation_is_told(length: int) -> None:
    with pytest.raises(Truncated):
        read_echo(VECTOR[:length], 4)


@pytest.mark.parametrize("kind", sorted(set(range(256)) - {0, 8}))
def test_every_other_type_is_no_echo(kind: int) -> None:
    with pytest.raises(Malformed, match=f"ICMP type {kind}"):
        read_echo(bytes((kind,)) + VECTOR[1:], 4)
