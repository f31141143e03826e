"""The Geneve header of peer relays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.wire.disco import MAGIC
from gatepost.wire.geneve import (
    DISCO,
    HEADER_LENGTH,
    LARGEST_VNI,
    WIREGUARD,
    Geneve,
    is_geneve,
    read_geneve,
    write_geneve,
)

headers = st.builds(
    Geneve, st.integers(1, LARGEST_VNI), st.sampled_from((DISCO, WIREGUARD)), st.booleans()
)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (Geneve(1, DISCO, is_control=True), "00 80 7a11 000001 00"),
        (Geneve(0xABCDEF, WIREGUARD), "00 00 7a12 abcdef 00"),
    ],
)
def test_a_header_is_laid_out_as_the_field_does(header: Geneve, text: str) -> None:
    assert write_geneve(header, b"!") == bytes.fromhex(text) + b"!"


@given(headers, st.binary(max_size=100))
def test_what_was_put_in_front_is_taken_off_again(header: Geneve, packet: bytes) -> None:
    assert read_geneve(write_geneve(header, packet)) == (header, packet)


@pytest.mark.parametrize("vni", [0, -1, LARGEST_VNI + 1])
def test_a_vni_without_room_is_never_written(vni: int) -> None:
    with pytest.raises(Malformed):
        write_geneve(Geneve(vni, DISCO), b"")


@pytest.mark.parametrize("length", range(HEADER_LENGTH))
def test_a_header_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        read_geneve(write_geneve(Geneve(7, DISCO), b"")[:length])


@pytest.mark.parametrize("at", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("bit", range(7))
def test_a_flipped_bit_of_the_fixed_part_is_noticed(at: int, bit: int) -> None:
    packet = bytearray(write_geneve(Geneve(7, WIREGUARD), b"x"))
    packet[at] ^= 1 << bit
    if bytes(packet[2:4]) in {b"\x7a\x11", b"\x7a\x12"} and at in {2, 3}:
        return  # the other protocol

    assert not is_geneve(bytes(packet))


def test_other_packets_of_the_port_are_not_taken_for_it() -> None:
    for kind in range(1, 5):
        assert not is_geneve(bytes((kind, 0, 0, 0)) + bytes(60))
    assert not is_geneve(MAGIC + bytes(80))
    assert not is_geneve(bytes.fromhex("000100082112a442") + bytes(12))
    with pytest.raises(Malformed, match="without a VNI"):
        read_geneve(bytes.fromhex("00807a11 00000000"))
