"""Prefixes and names of 4via6, there and back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.via6 import LAST_SITE, read_name, read_prefix, via_name, via_prefix

SITES = st.integers(0, LAST_SITE)
ADDRESSES = st.integers(0, (1 << 32) - 1).map(IPv4Address)


def test_the_example_that_everybody_knows() -> None:
    prefix = via_prefix(7, IPv4Network("10.1.1.0/24"))

    assert prefix == IPv6Network("fd7a:115c:a1e0:b1a:0:7:a01:100/120")
    assert read_name("10-1-1-16-via-7") == IPv6Address("fd7a:115c:a1e0:b1a:0:7:a01:110")


@given(SITES, ADDRESSES, st.integers(0, 32))
def test_a_prefix_says_its_site_and_network(site: int, address: IPv4Address, length: int) -> None:
    network = IPv4Network((address, length), strict=False)

    assert read_prefix(via_prefix(site, network)) == (site, network)


@given(SITES, ADDRESSES)
def test_a_name_says_its_site_and_address(site: int, address: IPv4Address) -> None:
    prefix = via_prefix(site, IPv4Network(address))

    assert read_name(via_name(site, address).upper()) == prefix[0]


@pytest.mark.parametrize("site", [-1, LAST_SITE + 1])
def test_a_site_out_of_range_is_refused(site: int) -> None:
    with pytest.raises(ValueError, match=f"site {site} is not 0 to 65535"):
        via_prefix(site, IPv4Network("10.0.0.0/8"))


@pytest.mark.parametrize(
    "text",
    ["fd7a:115c:a1e0:b1a::/64", "fd7a:115c:a1e0:b1a:1:7::/96", "fd7a:115c:a1e0:b1b::/96", "::/0"],
)
def test_a_prefix_that_stands_for_no_network_says_so(text: str) -> None:
    assert read_prefix(IPv6Network(text)) is None


@pytest.mark.parametrize(
    "label",
    [
        "",
        "10-0-0-1",
        "10-0-0-256-via-7",
        "10-0-0-1-via-65536",
        "10-0-0-via-7",
        "a10-0-0-1-via-7",
        "10-0-0-1-via-\u0667",
        "10-0-0-1-via-7\n",
        "10-0-0-01-via-7",
    ],
)
def test_what_is_no_such_name_is_none(label: str) -> None:
    assert read_name(label) is None
