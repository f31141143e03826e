"""Machines with the stock app: what the box wants for them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from gatepost.api import (
    Address,
    Guests,
    Item,
    Notice,
    Route,
    Tunnel,
    TunnelPeer,
    owned,
)
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private
from gatepost_plugins.plain_wireguard import KEY, Settings, contribute

NETWORKS = (ip_network("10.77.1.0/24"), ip_network("fd00:77::/64"))
NETMAP = make_netmap(me=make_node(1, *map(str, NETWORKS), key=make_private(1).public))
PHONE = make_private(9).public
SETTINGS = Settings(networks=NETWORKS, peers=(f"phone 2 {PHONE.base64}",), port=4500)


def ask(settings: Settings) -> list[Item]:
    observed = make_observed("192.0.2.0/24", answers={KEY: make_private(7)})
    return list(contribute(NETMAP, settings, observed))


def test_each_machine_has_its_own_addresses_in_the_tunnel_and_no_others() -> None:
    (tunnel,) = (item for item in ask(SETTINGS) if isinstance(item, Tunnel))

    assert tunnel == Tunnel(
        name=owned.GUEST_DEVICE,
        private_key=make_private(7),
        port=4500,
        mark=owned.MARK,
        mtu=owned.MTU,
        peers=frozenset(
            {
                TunnelPeer(
                    public_key=PHONE,
                    allowed=frozenset({ip_network("10.77.1.2"), ip_network("fd00:77::2")}),
                )
            }
        ),
    )


def test_the_box_is_number_one_and_routes_to_all_of_them() -> None:
    items = ask(SETTINGS)

    for network in NETWORKS:
        assert Address(owned.GUEST_DEVICE, network[1]) in items
        route = Route(owned.ROUTE_TABLE, network, owned.GUEST_DEVICE, source=network[1])
        assert route in items
    assert Address(owned.GUEST_DEVICE, ip_address("10.77.1.1")) in items


def test_nobody_comes_in_unjudged_while_there_is_no_key() -> None:
    items = list(contribute(NETMAP, SETTINGS, make_observed()))

    assert Guests(owned.GUEST_DEVICE, frozenset(NETWORKS)) in items
    assert not any(isinstance(item, Tunnel) for item in items)


def test_a_machine_for_which_there_is_no_room_is_named() -> None:
    settings = Settings(networks=(ip_network("10.77.1.0/30"),), peers=(f"phone 3 {PHONE.base64}",))

    assert any("phone" in i.text for i in ask(settings) if isinstance(i, Notice))


@pytest.mark.parametrize(
    "network", ["10.1.0.0/16", "100.64.3.0/24", "127.0.0.0/24", "10.77.1.0/31", "0.0.0.0/0"]
)
def test_a_network_that_cannot_be_the_machines_is_refused(network: str) -> None:
    settings = Settings(networks=(ip_network(network),))
    observed = make_observed("10.1.0.0/24", answers={KEY: make_private(7)})
    items = list(contribute(NETMAP, settings, observed))

    assert any(network in i.text for i in items if isinstance(i, Notice))
    assert not any(isinstance(item, (Tunnel, Guests)) for item in items)


@pytest.mark.parametrize(
    "peers",
    [
        ("phone",),
        ("phone 2 short",),
        (f"phone 1 {PHONE.base64}",),
        (f"Phone! 2 {PHONE.base64}",),
        (f"phone 2 {PHONE.base64}", f"tablet 2 {make_private(8).public.base64}"),
        (f"phone 2 {PHONE.base64}", f"tablet 3 {PHONE.base64}"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_with_the_settings(peers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Settings(peers=peers)
