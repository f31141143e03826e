"""What the operator may write about routers, and that nothing else is taken."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.api import BgpNeighbour
from gatepost.model.netmap import IPNetwork
from gatepost_plugins.dynamic_routing import Settings
from gatepost_plugins.dynamic_routing.reading import read_area, read_link, read_neighbour


def test_a_neighbour_is_an_address_with_a_number_and_perhaps_a_password() -> None:
    assert read_neighbour("10.1.0.9 as 65002") == BgpNeighbour(
        address=ip_address("10.1.0.9"), number=65002
    )
    assert read_neighbour("fd00::9 as 4294967295 password-file /etc/a b") == BgpNeighbour(
        address=ip_address("fd00::9"), number=2**32 - 1, password_file=Path("/etc/a b")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.1.0.9", "not like"),
        ("10.1.0.9 as", "not like"),
        ("10.1.0.9 as 0", "no AS number"),
        ("10.1.0.9 as 4294967296", "no AS number"),
        ("10.1.0.9 as -1", "no AS number"),
        ("10.1.0.9 as ٣", "no AS number"),
        ("router as 65002", "not an IP address"),
        ("10.1.0.0/24 as 65002", "not an IP address"),
        ("fe80::1%lan0 as 65002", "no address of one router"),
        ("224.0.0.5 as 65002", "no address of one router"),
        ("0.0.0.0 as 65002", "no address of one router"),
        ("10.1.0.9 as 65002 password secret", "not like"),
        ("10.1.0.9 as 65002 password-file secret", "no whole path"),
    ],
)
def test_what_is_no_neighbour_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_neighbour(text)


@given(st.text(alphabet="0123456789.:as%/ \n\tpword-file", max_size=40))
def test_whatever_is_read_is_written_in_one_line(text: str) -> None:
    try:
        neighbour = read_neighbour(text)
    except ValueError:
        return
    assert str(neighbour).isprintable()


def test_an_area_is_a_number_with_or_without_dots() -> None:
    assert read_area("0") == IPv4Address("0.0.0.0")
    assert read_area("51") == read_area("0.0.0.51") == IPv4Address(51)
    assert read_area("4294967295") == IPv4Address("255.255.255.255")


@pytest.mark.parametrize("text", ["", "-1", "4294967296", "1.2.3", "0\nrouter bgp 1", "backbone"])
def test_what_is_no_area_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no OSPF area"):
        read_area(text)


@pytest.mark.parametrize("text", ["", "lan 0", "lan0\n", "-x", "a" * 16, "lan0;x", "lân0", "../x"])
def test_what_is_no_device_is_refused(text: str) -> None:
    assert read_link("br-lan.10_x") == "br-lan.10_x"
    with pytest.raises(ValueError, match="no name of a network device"):
        read_link(text)


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "100.64.1.0/24", "96.0.0.0/4", "240.0.0.0/4", "fd7a::/16", "::/0"]
)
def test_our_own_networks_and_default_routes_are_never_learnt(network: str) -> None:
    learnt: IPNetwork = ip_network(network)

    with pytest.raises(ValueError, match="cannot be learnt"):
        Settings(learn=(learnt,))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="number of an own AS"):
        Settings(neighbours=("10.1.0.9 as 65002",))
    with pytest.raises(ValueError, match="named twice"):
        Settings(as_number=1, neighbours=("10.1.0.9 as 65002", "10.1.0.9 as 65003"))
    with pytest.raises(ValueError, match="not an IPv4 address"):
        Settings(router_id=ip_address("fd00::1"))
    with pytest.raises(ValueError, match="no whole path"):
        Settings(ospf_password_file=Path("secret"))
