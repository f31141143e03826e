"""A network whose cable is out is left to other boxes."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gatepost.api import Advertise, LocalNetworks, Notice, Observed, WatchLocalNetworks
from gatepost.testing.makers import make_netmap, make_node
from gatepost_plugins import subnet_router

LAN, BEHIND = ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")
SETTINGS = subnet_router.Settings(networks=(LAN, BEHIND))


def offered(local: LocalNetworks) -> tuple[set[str], set[str]]:
    """Return the advertised networks and the codes of the notices."""
    netmap = make_netmap(me=make_node(1, str(LAN), str(BEHIND)))
    observed = Observed({WatchLocalNetworks(): local})
    items = tuple(subnet_router.contribute(netmap, SETTINGS, observed))
    networks = {str(i.prefix) for i in items if isinstance(i, Advertise)}
    return networks, {i.code for i in items if isinstance(i, Notice)}


@pytest.mark.parametrize("severed", ["10.1.0.0/16", "10.1.3.0/24", "10.0.0.0/8"])
def test_a_network_without_a_cable_is_not_advertised(severed: str) -> None:
    local = LocalNetworks(severed=(ip_network(severed),))
    networks, notices = offered(local)

    assert str(LAN) not in networks
    assert "network-unplugged" in notices


def test_a_network_with_a_cable_is_advertised_and_one_behind_a_router_too() -> None:
    assert offered(LocalNetworks(networks=(LAN,)))[0] == {str(LAN), str(BEHIND)}


def test_a_second_cable_into_a_network_is_enough() -> None:
    local = LocalNetworks(networks=(ip_network("10.1.3.0/24"),), severed=(LAN,))

    assert offered(local)[0] == {str(LAN), str(BEHIND)}
