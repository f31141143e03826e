"""What is asked before anything is sent."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from gatepost.daemon.return_path import check_return_path, read_host, source_in
from gatepost.errors import SettingsError
from gatepost.model.process import LocalNetworks


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.9.0.0/16", "10.9.255.254"),
        ("10.9.0.7/32", "10.9.0.7"),
        ("10.9.0.6/31", "10.9.0.6"),
        ("fd00:9::/64", "fd00:9::ffff:ffff:ffff:fffe"),
    ],
)
def test_a_network_is_asked_for_by_an_address_that_is_seldom_used(
    network: str, address: str
) -> None:
    assert source_in(ip_network(network)) == ip_address(address)


@pytest.mark.parametrize("text", ["", "host-b", "10.1.0.0/24", "10.1.0"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=repr(text)):
        read_host(text)


async def test_the_box_itself_is_no_host_to_ask() -> None:
    here = LocalNetworks(addresses=(IPv4Address("10.1.0.1"),))

    with pytest.raises(SettingsError, match="this box itself"):
        await check_return_path(IPv4Address("10.1.0.1"), here, (), 1.0)
