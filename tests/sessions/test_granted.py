"""When a node doubts that it was told of all its routes: what it waits for, and how long."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gatepost.sessions.granted import SELDOM, SOON, GrantDoubt
from gatepost.testing.makers import make_netmap, make_node
from gatepost.wire.netmap import MapNode, MapResponse

LAN = ip_network("10.1.0.0/16")
UNGRANTED = make_netmap()
GRANTED = make_netmap(me=make_node(1, str(LAN)))
TAKEN = make_netmap(others=(make_node(2, str(LAN)),))
RULES = MapResponse(packet_filters={"base": ()})
ONE_LIST = MapResponse(packet_filter=())
NO_RULES = MapResponse(domain="mesh.example")
OWN_ENTRY = MapResponse(node=MapNode(id=1), packet_filters={"base": ()})


@pytest.mark.parametrize("message", [RULES, ONE_LIST])
def test_a_filter_alone_may_mean_that_routes_were_granted(message: MapResponse) -> None:
    assert GrantDoubt().on_message(message, UNGRANTED, [LAN]) == SOON


@pytest.mark.parametrize("message", [OWN_ENTRY, NO_RULES])
def test_own_entry_and_other_news_leave_no_doubt(message: MapResponse) -> None:
    assert GrantDoubt().on_message(message, UNGRANTED, [LAN]) is None


def test_who_has_all_that_it_offers_doubts_nothing() -> None:
    assert GrantDoubt().on_message(RULES, GRANTED, [LAN]) is None
    assert GrantDoubt().on_message(RULES, UNGRANTED, []) is None


def test_asking_in_vain_becomes_rare_and_hope_makes_it_soon_again() -> None:
    doubt = GrantDoubt()
    waits = [doubt.on_message(RULES, UNGRANTED, [LAN]) for _ in range(12)]

    assert waits[:3] == [SOON, 2 * SOON, 4 * SOON]
    assert waits[-1] == SELDOM
    doubt.on_message(OWN_ENTRY, GRANTED, [LAN])
    assert doubt.on_message(RULES, UNGRANTED, [LAN]) == SOON


def test_a_network_that_its_carrier_loses_may_be_ours_now_however_often_that_happens() -> None:
    doubt = GrantDoubt()
    doubt.on_message(OWN_ENTRY, TAKEN, [LAN])

    for _ in range(20):
        assert doubt.on_message(NO_RULES, UNGRANTED, [LAN]) == SOON
        assert doubt.on_message(NO_RULES, TAKEN, [LAN]) == SOON
        assert doubt.on_message(NO_RULES, TAKEN, [LAN]) is None
