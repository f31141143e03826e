"""A router is known by an IPv4 address; a mesh need not have given one."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from gatepost.api import Notice, RoutingDaemon
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private
from gatepost_plugins.dynamic_routing import Settings, contribute

V6_ONLY = make_netmap(
    me=make_node(1, key=make_private(1).public, addresses=(ip_address("fd7a:115c:a1e0::1"),))
)


def test_a_box_without_an_ipv4_address_says_what_is_missing() -> None:
    said = list(contribute(V6_ONLY, Settings(ospf_links=("lan0",)), make_observed()))

    assert [n.code for n in said if isinstance(n, Notice)] == ["no-router-id"]
    assert not any(isinstance(item, RoutingDaemon) for item in said)


def test_a_chosen_router_id_is_enough() -> None:
    chosen = Settings(ospf_links=("lan0",), router_id=ip_address("192.168.1.1"))
    said = list(contribute(V6_ONLY, chosen, make_observed()))

    (daemon,) = (item for item in said if isinstance(item, RoutingDaemon))
    assert daemon.router_id == IPv4Address("192.168.1.1")
