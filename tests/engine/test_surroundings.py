"""Which networks around a box are proposed, and how deep the NAT is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network

import pytest

from gatepost.engine.surroundings import describe_surroundings, nat_depth
from gatepost.model.surroundings import AroundFacts, FoundNetwork, InterfaceFacts, Lease

WAN = InterfaceFacts(name="wan0", addresses=(ip_interface("192.168.0.7/24"),))
LAN = InterfaceFacts(
    name="lan0",
    addresses=(
        ip_interface("10.7.0.1/24"),
        ip_interface("fd00:7::1/64"),
        ip_interface("fe80::1/64"),
    ),
)
ROUTER = AroundFacts(
    interfaces=(WAN, LAN),
    uplinks=frozenset({"wan0"}),
    gateways=(("wan0", IPv4Address("192.168.0.1")),),
)


def found(facts: AroundFacts) -> dict[str, FoundNetwork]:
    return {n.network: n for n in describe_surroundings(facts).networks}


def test_a_router_proposes_what_is_behind_it_and_not_its_uplink() -> None:
    networks = found(ROUTER)

    assert {n for n, f in networks.items() if f.proposed} == {"10.7.0.0/24", "fd00:7::/64"}
    assert networks["192.168.0.0/24"].gateway == "192.168.0.1"
    assert "lan0" in networks["192.168.0.0/24"].why


def test_a_box_with_one_cable_proposes_the_network_that_it_stands_in() -> None:
    assert found(replace(ROUTER, interfaces=(WAN,)))["192.168.0.0/24"].proposed


def test_a_network_that_another_site_has_is_not_proposed_and_named() -> None:
    facts = replace(ROUTER, remote=((ip_network("10.0.0.0/8"), "office"),))
    network = found(facts)["10.7.0.0/24"]

    assert not network.proposed
    assert network.overlaps == ("10.0.0.0/8 at office",)
    assert "4via6" in network.why


def test_an_exit_node_overlaps_nothing() -> None:
    facts = replace(ROUTER, remote=((ip_network("0.0.0.0/0"), "exit"),))

    assert found(facts)["10.7.0.0/24"].overlaps == ()


@pytest.mark.parametrize(
    ("interface", "why"),
    [
        (InterfaceFacts(name="docker0", addresses=(ip_interface("172.17.0.1/16"),)), "containers"),
        (replace(LAN, is_plugged=False, addresses=LAN.addresses[:1]), "cable"),
        (replace(LAN, addresses=(ip_interface("203.0.113.1/24"),)), "public"),
        (replace(LAN, addresses=(ip_interface("10.7.0.1/30"),)), "another router"),
    ],
    ids=["containers", "unplugged", "public", "transfer"],
)
def test_what_speaks_against_a_network_is_said(interface: InterfaceFacts, why: str) -> None:
    (network,) = found(AroundFacts(interfaces=(interface,))).values()

    assert not network.proposed
    assert why in network.why


def test_what_is_shared_is_not_proposed_again() -> None:
    lan = ip_network("10.7.0.0/24")
    network = found(replace(ROUTER, shared=(lan,), approved=(lan,)))["10.7.0.0/24"]

    assert (network.proposed, network.shared, network.approved) == (False, True, True)


def test_the_range_of_a_dhcp_server_is_shown_at_its_network() -> None:
    lease = Lease(
        first=IPv4Address("10.7.0.100"), last=IPv4Address("10.7.0.199"), program="dnsmasq"
    )
    networks = found(replace(ROUTER, leases=(lease,)))

    assert networks["10.7.0.0/24"].dhcp == "10.7.0.100 to 10.7.0.199 by dnsmasq"
    assert networks["192.168.0.0/24"].dhcp == ""


PUBLIC = replace(WAN, addresses=(ip_interface("203.0.113.9/24"),))
CARRIER = replace(WAN, addresses=(ip_interface("100.70.0.9/24"),))
SEEN = (ip_address("203.0.113.9"),)


@pytest.mark.parametrize(
    ("wan", "seen", "mapped", "depth"),
    [
        (PUBLIC, SEEN, (), "none"),
        (WAN, SEEN, (), "one"),
        (WAN, SEEN, SEEN, "one"),
        (WAN, SEEN, (ip_address("192.168.100.2"),), "two"),
        (WAN, SEEN, (ip_address("100.64.3.2"),), "two"),
        (WAN, SEEN, (ip_address("198.51.100.2"),), "two"),
        (CARRIER, SEEN, (), "two"),
        (WAN, (), (), "unknown"),
    ],
)
def test_how_many_routers_translate(
    wan: InterfaceFacts,
    seen: tuple[IPv4Address, ...],
    mapped: tuple[IPv4Address, ...],
    depth: str,
) -> None:
    facts = AroundFacts(
        interfaces=(wan, LAN), uplinks=frozenset({"wan0"}), seen=seen, mapped=mapped
    )

    assert nat_depth(facts)[0] == depth
    assert nat_depth(facts)[1]
