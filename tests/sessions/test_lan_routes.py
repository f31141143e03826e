"""What a LAN's hosts have to know, in the words of their router or DHCP server."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest

from gatepost.model.netmap import MESH_V4, MESH_V6
from gatepost.model.owned import ALIAS_NETWORK
from gatepost.model.process import LocalNetworks
from gatepost.sessions.lan_routes import STYLES, Lan, classless_routes, lans_of, told_to
from gatepost.wire.dhcp_routes import read_routes, write_routes

LOCAL = LocalNetworks(
    networks=tuple(map(ip_network, ("10.1.0.0/24", "192.0.2.0/24", "fd00:1::/64"))),
    addresses=(IPv4Address("10.1.0.5"), IPv4Address("192.0.2.7"), IPv6Address("fd00:1::5")),
)
LAN = Lan(
    network=IPv4Network("10.1.0.0/24"),
    via=IPv4Address("10.1.0.5"),
    routes=(IPv4Network("10.9.0.0/16"), MESH_V4),
)
ROUTER = IPv4Address("10.1.0.1")


def test_only_networks_that_are_shared_are_told_anything() -> None:
    shared = map(ip_network, ("10.0.0.0/8", "fd00:1::/64"))
    found = lans_of(shared, LOCAL, (MESH_V4, MESH_V6))

    assert [(str(lan.network), str(lan.via)) for lan in found] == [
        ("10.1.0.0/24", "10.1.0.5"),
        ("fd00:1::/64", "fd00:1::5"),
    ]


def test_hosts_are_told_as_little_as_possible_and_nothing_about_their_own_lan() -> None:
    carried = map(
        ip_network, ("10.8.0.0/16", "10.9.0.0/16", "10.1.0.0/25", str(ALIAS_NETWORK), "fd00::/64")
    )
    (lan,) = lans_of([LAN.network], LOCAL, carried)

    assert lan.routes == (IPv4Network("10.8.0.0/15"),)


def test_a_wider_remote_network_is_told_because_the_lan_is_nearer_anyway() -> None:
    (lan,) = lans_of([LAN.network], LOCAL, [IPv4Network("10.0.0.0/8")])

    assert lan.routes == (IPv4Network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("style", "lines"),
    [
        ("plain", ["10.9.0.0/16 via 10.1.0.5", "100.64.0.0/10 via 10.1.0.5"]),
        ("linux", ["ip route add 10.9.0.0/16 via 10.1.0.5",
                   "ip route add 100.64.0.0/10 via 10.1.0.5"]),
        ("dnsmasq", [("dhcp-option=121,10.9.0.0/16,10.1.0.5,100.64.0.0/10,10.1.0.5,"
                      "0.0.0.0/0,10.1.0.1")]),
        ("isc", [("option classless-routes code 121 = array of unsigned integer 8;\n"
                  "option classless-routes 16, 10, 9, 10, 1, 0, 5, 10, 100, 64, 10, 1, 0, 5, "
                  "0, 10, 1, 0, 1;")]),
        ("kea", [('{ "code": 121, "space": "dhcp4", "csv-format": false, '
                  '"data": "100a090a0100050a64400a010005000a010001" }')]),
    ],
)  # fmt: skip
def test_each_server_is_told_in_its_own_words(style: str, lines: list[str]) -> None:
    assert list(told_to(style, LAN, ROUTER)) == lines


@pytest.mark.parametrize("style", STYLES)
def test_without_routes_there_is_nothing_to_say(style: str) -> None:
    lan = Lan(network=LAN.network, via=LAN.via, routes=())

    assert list(told_to(style, lan, None)) == []


@pytest.mark.parametrize("router", [None, IPv4Address("192.0.2.1"), IPv6Address("fd00:1::1")])
def test_a_dhcp_option_without_the_default_router_is_refused(
    router: IPv4Address | IPv6Address | None,
) -> None:
    with pytest.raises(ValueError, match="router"):
        classless_routes(LAN, router)


def test_an_option_that_is_too_long_for_clients_is_refused() -> None:
    many = tuple(IPv4Network((0x0A090000 + 512 * n, 24)) for n in range(40))
    lan = Lan(network=LAN.network, via=LAN.via, routes=many)

    with pytest.raises(ValueError, match="octets"):
        classless_routes(lan, ROUTER)


def test_there_is_no_such_option_for_ipv6() -> None:
    lan = Lan(network=IPv6Network("fd00:1::/64"), via=IPv6Address("fd00:1::5"), routes=(MESH_V6,))

    with pytest.raises(ValueError, match="advertisements"):
        classless_routes(lan, IPv6Address("fd00:1::1"))


def test_what_clients_read_is_what_was_meant() -> None:
    routes = classless_routes(LAN, ROUTER)

    assert read_routes(write_routes(routes)) == routes
