"""The packet that wakes a machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.wire.wake_on_lan import (
    read_link_address,
    read_magic,
    write_link_address,
    write_magic,
)

addresses = st.binary(min_size=6, max_size=6)
single = addresses.filter(lambda raw: not raw[0] & 1)


def test_the_packet_is_as_people_know_it() -> None:
    address = bytes.fromhex("001122334455")

    assert write_magic(address) == bytes.fromhex("ffffffffffff" + "001122334455" * 16)


@given(single, st.binary(max_size=20).filter(lambda raw: b"\xff" not in raw), st.binary(max_size=9))
def test_it_is_found_anywhere_in_a_packet(address: bytes, before: bytes, after: bytes) -> None:
    assert read_magic(before + write_magic(address) + after) == address


@pytest.mark.parametrize("length", range(102))
def test_every_cut_wakes_nobody(length: int) -> None:
    with pytest.raises(Malformed):
        read_magic(write_magic(bytes.fromhex("001122334455"))[:length])


@given(st.binary(max_size=200))
def test_noise_wakes_nobody(noise: bytes) -> None:
    try:
        address = read_magic(noise)
    except Malformed:
        return
    assert write_magic(address) in noise


@given(single)
def test_an_address_that_was_written_is_read_back(address: bytes) -> None:
    text = write_link_address(address)

    assert read_link_address(text) == address
    assert read_link_address(text.upper().replace(":", "-")) == address


@pytest.mark.parametrize(
    "text",
    ["", "nas", "00:11:22:33:44", "00:11:22:33:44:55:66", "ff:ff:ff:ff:ff:ff", "0:1:2:3:4:5"],
)
def test_what_is_no_machines_address_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_link_address(text)
