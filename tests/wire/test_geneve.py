"""The header in front of relayed packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated
from gatepost.wire.geneve import (
    DISCO_TYPE,
    HEADER_LENGTH,
    HIGHEST_VNI,
    WIREGUARD_TYPE,
    Geneve,
    read_geneve,
    write_geneve,
)

VECTORS = (
    (Geneve(type=WIREGUARD_TYPE, vni=1), "00007a1200000100"),
    (Geneve(type=DISCO_TYPE, vni=0xABCDEF, control=True), "00807a11abcdef00"),
)
headers = st.builds(
    Geneve,
    type=st.integers(0, 0xFFFF),
    vni=st.integers(1, HIGHEST_VNI),
    control=st.booleans(),
)


@pytest.mark.parametrize(("header", "written"), VECTORS)
def test_headers_are_written_and_read_as_the_standard_draws_them(
    header: Geneve, written: str
) -> None:
    assert write_geneve(header).hex() == written
    assert read_geneve(bytes.fromhex(written)) == header


@given(headers, st.binary(max_size=20))
def test_a_header_comes_back_whatever_follows_it(header: Geneve, rest: bytes) -> None:
    assert read_geneve(write_geneve(header) + rest) == header


@pytest.mark.parametrize("length", range(HEADER_LENGTH))
def test_a_short_packet_is_truncated(length: int) -> None:
    with pytest.raises(Truncated, match=f"not {length}"):
        read_geneve(bytes(length))


@pytest.mark.parametrize("first", [0x40, 0x80, 0xC0, 0x01, 0x3F])
def test_another_version_and_options_are_refused(first: int) -> None:
    with pytest.raises(Malformed, match="version 0"):
        read_geneve(bytes((first, 0)) + bytes(6))


@pytest.mark.parametrize("vni", [0, -1, HIGHEST_VNI + 1])
def test_a_vni_out_of_range_is_not_written(vni: int) -> None:
    with pytest.raises(Malformed, match="VNI"):
        write_geneve(Geneve(type=WIREGUARD_TYPE, vni=vni))
