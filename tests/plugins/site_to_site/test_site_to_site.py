"""What hosts of a LAN are told, and what is taken back from them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network, ip_network
from typing import Any

import pytest

from gatepost.api import (
    Item,
    LocalNetworks,
    Notice,
    Observed,
    Service,
    WatchLinks,
    WatchLocalNetworks,
    WatchMeshRoutes,
)
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private
from gatepost_plugins.site_to_site import Settings, contribute
from gatepost_plugins.site_to_site.advertising import Announced, Parameters, WatchAnnounced

SITE, OLD = IPv6Network("fd00:9::/64"), IPv6Network("fd00:7::/64")
NETMAP = make_netmap(me=make_node(1, "10.1.0.0/24", key=make_private(1).public))
LAN = LocalNetworks(networks=(ip_network("10.1.0.0/24"),), addresses=(IPv4Address("10.1.0.5"),))


def look(**more: object) -> Observed:
    answers: dict[Any, object] = {  # Any: watches of every type
        WatchLinks(): ("lan0",),
        WatchMeshRoutes(): (SITE, ip_network("10.9.0.0/16")),
        WatchLocalNetworks(): LAN,
    }
    if "told" in more:
        answers[WatchAnnounced()] = more["told"]
    return make_observed("10.1.0.0/24", answers=answers)


def services(items: list[Item]) -> list[Service]:
    return [item for item in items if isinstance(item, Service)]


def test_a_route_that_hosts_were_told_is_taken_back_when_it_ends() -> None:
    told = Announced((("lan0", frozenset({SITE, OLD})),))
    settings = Settings(announce_on=("lan0",))
    (service,) = services(list(contribute(NETMAP, settings, look(told=told))))

    assert service.params == (
        Parameters(link="lan0", routes=frozenset({SITE}), withdrawn=frozenset({OLD})),
    )


def test_all_is_taken_back_on_a_device_that_is_not_named_any_more() -> None:
    told = Announced((("lan0", frozenset({SITE})),))
    (service,) = services(list(contribute(NETMAP, Settings(), look(told=told))))

    assert service.params == (Parameters(link="lan0", withdrawn=frozenset({SITE})),)


def test_nobody_is_told_anything_unless_that_was_asked_for() -> None:
    assert services(list(contribute(NETMAP, Settings(), look()))) == []


def test_the_one_route_to_add_is_shown_until_somebody_says_that_it_is_there() -> None:
    shown = [
        item.text
        for item in contribute(NETMAP, Settings(), look())
        if isinstance(item, Notice) and item.code == "lan-routes"
    ]
    done = replace(Settings(), router_knows=True)

    assert len(shown) == 1
    assert "10.9.0.0/16 via 10.1.0.5" in shown[0]
    assert not [i for i in contribute(NETMAP, done, look()) if isinstance(i, Notice)]


@pytest.mark.parametrize(
    "text", ["", "10.1.5.0/24", "10.1.5.0/24 via", "10.1.5.0/24 via 10.0.0.0/8", "a via b",
             "10.1.5.0/24 via fd00::1", "10.1.5.1/24 via 10.1.0.9"]
)  # fmt: skip
def test_a_route_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Settings(behind=(text,))
