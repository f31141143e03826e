"""Which networks a choice takes."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gatepost.model.route_choice import ANY_ROUTE, RouteChoice

NET, INNER, SIX = map(ip_network, ("10.0.0.0/8", "10.1.0.0/16", "fd00::/64"))


@pytest.mark.parametrize("network", [NET, INNER, SIX])
def test_any_route_is_any_route(network: object) -> None:
    assert ANY_ROUTE.is_everything
    assert ANY_ROUTE.takes(ip_network(str(network)))


def test_a_list_stands_for_what_lies_within_it_and_not_for_what_is_wider() -> None:
    choice = RouteChoice(only=(INNER,))

    assert [choice.takes(n) for n in (NET, INNER, ip_network("10.1.2.0/24"), SIX)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_what_is_refused_outweighs_what_is_wanted() -> None:
    choice = RouteChoice(only=(NET,), refused=(INNER,))

    assert [choice.takes(n) for n in (NET, INNER)] == [True, False]


def test_an_empty_list_takes_nothing() -> None:
    assert not RouteChoice(only=()).takes(NET)
