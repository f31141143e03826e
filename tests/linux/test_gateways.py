"""The routers by which a machine reaches the internet, as the kernel knows them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from tests.linux.inside import run_inside

from gatepost.linux.interfaces import read_attachment
from gatepost.model.gateway import Gateway, Gateway6
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root
FIRST = Gateway(IPv4Address("192.0.2.254"), IPv4Address("192.0.2.1"), "eth0")
SECOND = Gateway(IPv4Address("198.51.100.254"), IPv4Address("198.51.100.1"), "eth1")


@pytest.fixture
def box(machine: Machine) -> Machine:
    machine.ip(
        "link add eth0 type veth peer name peer0",
        "link add eth1 type veth peer name peer1",
        *(f"link set {name} up" for name in ("peer0", "peer1", "eth0", "eth1")),
        "address add 192.0.2.1/24 dev eth0",
        "address add 198.51.100.1/24 dev eth1",
    )
    return machine


def gateways(box: Machine) -> tuple[Gateway, ...]:
    return run_inside(box, read_attachment).gateways


def test_a_machine_without_a_way_out_has_no_gateway(box: Machine) -> None:
    assert gateways(box) == ()


def test_the_gateway_is_found_with_our_address_towards_it(box: Machine) -> None:
    box.ip("route add default via 192.0.2.254")

    assert gateways(box) == (FIRST,)


def test_each_line_to_the_internet_has_its_gateway_whichever_is_preferred(box: Machine) -> None:
    box.ip(
        "route add default via 192.0.2.254 metric 100",
        "route add default via 198.51.100.254 metric 200",
    )

    assert gateways(box) == (FIRST, SECOND)


def test_a_line_without_a_router_has_no_gateway(box: Machine) -> None:
    box.ip("route add default dev eth0")

    assert gateways(box) == ()


def test_an_address_set_for_the_route_is_ours(box: Machine) -> None:
    box.ip(
        "address add 192.0.2.7/24 dev eth0",
        "route add default via 192.0.2.254 src 192.0.2.7",
    )

    assert gateways(box) == (Gateway(FIRST.address, IPv4Address("192.0.2.7"), "eth0"),)


def test_a_gateway_for_ipv6_comes_with_an_address_that_the_internet_knows(box: Machine) -> None:
    box.ip(
        "address add 2001:db8:7::2/64 dev eth0 nodad",
        "address add fd00:7::2/64 dev eth1 nodad",
        "route add default via fe80::1 dev eth0 metric 100",
        "route add default via fe80::1 dev eth1 metric 200",
    )
    found = run_inside(box, read_attachment).gateways_v6

    assert found == (Gateway6(IPv6Address("fe80::1"), IPv6Address("2001:db8:7::2"), "eth0"),)


@pytest.mark.parametrize(
    ("address", "local", "is_home"),
    [
        ("192.168.1.1", "192.168.1.2", True),
        ("10.0.0.1", "10.9.9.9", True),
        ("172.31.0.1", "172.16.0.2", True),
        ("172.32.0.1", "172.32.0.2", False),
        ("100.64.0.1", "100.64.0.2", False),
        ("203.0.113.1", "203.0.113.2", False),
        ("192.168.1.1", "203.0.113.2", False),
    ],
)
def test_only_a_router_with_private_addresses_is_asked_for_ports(
    address: str, local: str, is_home: bool
) -> None:
    assert Gateway(IPv4Address(address), IPv4Address(local)).is_home is is_home
