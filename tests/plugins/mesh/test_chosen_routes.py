"""A box uses those networks of others that its settings choose, and never its own LAN from afar."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gatepost.api import AllowedPrefix, IPNetwork, Route, owned
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private
from gatepost_plugins import mesh

OFFERED = ("10.9.0.0/16", "10.9.7.0/24", "10.8.0.0/16", "192.168.0.0/16", "fd00:9::/64")


def routed(settings: mesh.Settings, *attached: str) -> set[str]:
    """Return the networks of others that are routed into the tunnel and let through it."""
    me = make_node(1, key=make_private(1).public)
    netmap = make_netmap(me=me, others=(make_node(2, *OFFERED),))
    items = tuple(mesh.contribute(netmap, settings, make_observed(*attached)))
    routes = {i.destination for i in items if isinstance(i, Route) and i.device == owned.DEVICE}
    allowed = {i.prefix for i in items if isinstance(i, AllowedPrefix)}
    return {str(n) for n in routes & allowed}


def nets(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, texts))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (mesh.Settings(), set[str]()),
        (mesh.Settings(accept_only=nets("10.9.0.0/16")), set[str]()),
        (mesh.Settings(accept_routes=True), set(OFFERED)),
        (
            mesh.Settings(accept_routes=True, accept_only=nets("10.9.0.0/16")),
            {"10.9.0.0/16", "10.9.7.0/24"},
        ),
        (
            mesh.Settings(accept_routes=True, accept_except=nets("10.0.0.0/8")),
            {"192.168.0.0/16", "fd00:9::/64"},
        ),
        (
            mesh.Settings(
                accept_routes=True,
                accept_only=nets("10.0.0.0/8", "fd00:9::/64"),
                accept_except=nets("10.9.7.0/24"),
            ),
            {"10.9.0.0/16", "10.8.0.0/16", "fd00:9::/64"},
        ),
    ],
    ids=["none", "a list needs the switch", "all", "some", "all but some", "both"],
)
def test_only_chosen_networks_are_used(settings: mesh.Settings, expected: set[str]) -> None:
    assert routed(settings) == expected


@pytest.mark.parametrize("own", ["10.9.0.0/16", "10.9.3.0/24"])
def test_an_equal_or_wider_network_of_another_never_takes_the_own_lan(own: str) -> None:
    me = make_node(1, key=make_private(1).public)
    netmap = make_netmap(me=me, others=(make_node(2, *OFFERED),))
    settings = mesh.Settings(accept_routes=True)
    items = tuple(mesh.contribute(netmap, settings, make_observed(own)))
    (route,) = (i for i in items if isinstance(i, Route) and i.destination == ip_network(own))

    assert route.kind == "throw"  # which sends the lookup on, to the route of the LAN
