"""Where no name may lead."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.sessions.unroutable import relay_addresses, why_not

LAN = (ip_network("198.51.100.0/24"), ip_network("2001:db8:1::/64"))


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",
     "100.64.0.1", "100.100.100.100", "::", "::1", "fe80::1", "ff02::1", "::ffff:203.0.113.1",
     "fd7a:115c:a1e0::1", "64:ff9b::7f00:1", "64:ff9b::6440:1"],
)  # fmt: skip
def test_some_are_never_a_host_that_a_name_leads_to(address: str, private: bool) -> None:  # a case
    assert why_not(ip_address(address), LAN, private=private)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "fd00::1",
        "198.51.100.9",
        "2001:db8:1::9",
        "64:ff9b::10.1.2.3",
        "64:ff9b::198.51.100.9",
    ],
)
def test_private_ones_are_for_those_who_ask_for_them(address: str) -> None:
    assert why_not(ip_address(address), LAN, private=False)
    assert not why_not(ip_address(address), LAN, private=True)


@pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8:2::1", "8.8.8.8", "64:ff9b::8.8.8.8"])
def test_all_others_may_be_told(address: str) -> None:
    assert not why_not(ip_address(address), LAN, private=False)


def test_relays_are_known_by_their_addresses() -> None:
    nodes = (
        DerpNode(name="a", host="a.example", address_v4=IPv4Address("203.0.113.7")),
        DerpNode(name="b", host="b.example"),
    )
    region = DerpRegion(id=1, code="one", name="One", nodes=nodes)

    assert relay_addresses((region,)) == {ip_address("203.0.113.7")}
