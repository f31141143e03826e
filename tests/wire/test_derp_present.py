"""The details of PeerPresent: nineteen bytes, or fewer from an older server."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.derp_present import PresentFlag, read_details, write_details


def test_the_details_of_an_ipv4_client_are_laid_out_as_drawn() -> None:
    assert write_details("192.0.2.7", 0x1234, PresentFlag.MESH_PEER) == bytes.fromhex(
        "00000000000000000000ffff c0000207 1234 02"
    )


@given(
    address=st.ip_addresses().filter(lambda a: getattr(a, "ipv4_mapped", None) is None),
    port=st.integers(0, 65535),
    flags=st.integers(1, 15).map(PresentFlag),
)
def test_details_come_back_as_they_were(address: object, port: int, flags: PresentFlag) -> None:
    assert read_details(write_details(str(address), port, flags)) == (address, port, flags)


@pytest.mark.parametrize("length", range(20))
def test_an_older_server_s_shorter_details_are_read(length: int) -> None:
    whole = write_details("2001:db8::1", 7, PresentFlag.PROBER)[:length]

    address, port, flags = read_details(whole)

    if length < 18:
        assert (address, port, flags) == (None, 0, PresentFlag.REGULAR)
    else:
        assert (address, port) == (ip_address("2001:db8::1"), 7)
        assert flags == (PresentFlag.PROBER if length == 19 else PresentFlag.REGULAR)


def test_a_client_without_an_address_has_one_of_zeros() -> None:
    assert write_details("", 0, PresentFlag(0)) == bytes(18) + b"\x01"
