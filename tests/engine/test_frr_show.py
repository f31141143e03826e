"""What FRR says of itself, shortened from what 8.4 printed."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from gatepost.engine.frr_show import read_bgp, read_ospf, read_routes, routes_command
from gatepost.errors import Malformed
from gatepost.model.routing import BgpNeighbour, BgpSpeaker, LearnedRoute, RoutingNeighbour

SPEAKER = BgpSpeaker(
    number=65001,
    neighbours=tuple(
        BgpNeighbour(address=ip_address(a), number=65002) for a in ("10.1.0.9", "fd00::9")
    ),
)


def route(*, selected: bool = True, installed: bool = True, ip: str = "10.1.0.9") -> object:
    hop = {"flags": 3, "ip": ip} if ip else {"directlyConnected": True}
    return {"protocol": "bgp", "selected": selected, "installed": installed, "nexthops": [hop]}


def test_a_route_counts_while_it_is_in_force() -> None:
    said = {
        "10.22.0.0/24": [route(selected=False, installed=False), route()],
        "10.23.0.0/24": [route(installed=False)],
        "10.24.0.0/24": [route(selected=False)],
        "10.25.0.0/24": [route(ip="")],
    }

    assert read_routes(json.dumps(said), "bgp") == (
        LearnedRoute(
            network=ip_network("10.22.0.0/24"), protocol="bgp", gateway=ip_address("10.1.0.9")
        ),
    )
    assert read_routes("", "ospf") == read_routes("{\n}\n", "ospf") == ()


def test_every_neighbour_that_is_wanted_has_a_state() -> None:
    said = {"10.1.0.9": {"bgpState": "Established", "lastResetDueTo": "No AFI/SAFI"}, "more": 3}

    assert read_bgp(json.dumps(said), SPEAKER) == (
        RoutingNeighbour(
            protocol="bgp", address=ip_address("10.1.0.9"), is_up=True, state="Established"
        ),
        RoutingNeighbour(
            protocol="bgp", address=ip_address("fd00::9"), is_up=False, state="unknown"
        ),
    )


def test_why_a_session_ended_is_said() -> None:
    said = {"10.1.0.9": {"bgpState": "Active", "lastResetDueTo": "Peer closed the session" * 99}}

    (first, _) = read_bgp(json.dumps(said), SPEAKER)
    assert first.state == "Active"
    assert first.reason.startswith("Peer closed the session")
    assert len(first.reason) == 200


@pytest.mark.parametrize(
    "said",
    [
        {"state": "Full/Backup", "address": "10.1.0.9", "ifaceName": "lan0:10.1.0.1"},
        {"nbrState": "Full/-", "ifaceAddress": "10.1.0.9"},
    ],
)
def test_a_router_heard_by_ospf_has_a_state(said: dict[str, str]) -> None:
    text = json.dumps({"neighbors": {"10.255.0.1": [said]}})

    assert read_ospf(text) == (
        RoutingNeighbour(protocol="ospf", address=ip_address("10.1.0.9"), is_up=True, state="Full"),
    )


@pytest.mark.parametrize("text", ["[]", "{", '{"10.1.0.9": 3}', '{"10.1.0.9": {"bgpState": 3}}'])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_bgp(text, SPEAKER)


@pytest.mark.parametrize("name", ["10.1.0.300/24", "x"])
def test_a_wrong_network_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        read_routes(json.dumps({name: [route()]}), "bgp")


def test_zebra_is_asked_in_the_words_of_each_version() -> None:
    assert routes_command(4, "ospf") == "show ip route ospf json"
    assert routes_command(6, "bgp") == "show ipv6 route bgp json"
