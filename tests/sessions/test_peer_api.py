"""Who is a peer at the peer API, what is meant for this node, and who may ask for names."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatepost.model.netmap import FilterRule, NetMap
from gatepost.model.peer_api import port_for
from gatepost.sessions.peer_api import Callers, is_meant, may_ask_names
from gatepost.testing.makers import ALLOW_ALL, make_netmap, make_node, make_rule

MINE, THEIRS, THEIRS_V6 = "100.64.0.1", "100.64.0.2", "fd7a:115c:a1e0::2"


def make_mesh(*rules: FilterRule, tags: tuple[str, ...] = (), user: int = 7) -> NetMap:
    """Return this node, of user 1, with one peer."""
    me = make_node(1, "10.1.0.0/16", user=1)
    peer = make_node(2, "10.2.0.0/16", user=user, tags=tags)
    return make_netmap(me=me, others=(peer,), rules=rules)


@pytest.mark.parametrize("address", [THEIRS, THEIRS_V6])
def test_a_peer_is_known_by_its_own_addresses(address: str) -> None:
    found = Callers().peer_at(make_mesh(), address)

    assert found is not None
    assert found.id == 2


@pytest.mark.parametrize("address", [MINE, "10.2.0.9", "192.0.2.1", "fe80::1%eth0", "", "::"])
def test_nobody_else_is_a_peer(address: str) -> None:
    assert Callers().peer_at(make_mesh(), address) is None


def test_a_peer_whose_login_is_over_is_none() -> None:
    mesh = make_mesh()
    gone = replace(mesh, peers=(replace(mesh.peers[0], expired=True),))

    assert Callers().peer_at(gone, THEIRS) is None


@pytest.mark.parametrize(
    ("headers", "is_fine"),
    [
        ({"host": "peer"}, True),
        ({"host": MINE}, True),
        ({"host": f"{MINE}:40000"}, True),
        ({"host": "[fd7a:115c:a1e0::1]:40000"}, True),
        ({"host": "[fd7a:115c:a1e0::2]:40000"}, False),
        ({"host": "100.64.0.2:40000"}, False),
        ({"host": "evil.example"}, False),
        ({"host": "["}, False),
        ({"host": "]["}, False),
        ({}, False),
        ({"host": "peer", "referer": "http://evil.example/"}, False),
        ({"host": "peer", "origin": "http://evil.example"}, False),
    ],
)
def test_a_request_must_be_meant_for_this_node(headers: dict[str, str], is_fine: bool) -> None:
    assert is_meant(make_mesh(), headers) is is_fine


@pytest.mark.parametrize(
    ("rule", "sender", "may"),
    [
        (ALLOW_ALL[0], THEIRS, True),
        (ALLOW_ALL[0], THEIRS_V6, False),
        (ALLOW_ALL[1], THEIRS_V6, True),
        (make_rule(f"{THEIRS}/32", "0.0.0.0/5", 53, 53), THEIRS, True),
        (make_rule(f"{THEIRS_V6}/128", "2000::/3"), THEIRS_V6, True),
        (make_rule(f"{THEIRS}/32", "0.0.0.0/5", 443, 443), THEIRS, False),
        (make_rule(f"{THEIRS}/32", "100.64.0.1/32"), THEIRS, False),
        (make_rule("100.64.0.3/32", "0.0.0.0/0"), THEIRS, False),
    ],
)
def test_names_are_for_those_who_may_reach_the_internet_here(
    rule: FilterRule,
    sender: str,
    may: bool,  # a case
) -> None:
    mesh = make_mesh(rule)

    assert may_ask_names(mesh, mesh.peers[0], sender) is may


def test_a_rule_for_pings_lets_nobody_ask() -> None:
    pings = replace(ALLOW_ALL[0], protocols=(1,))
    mesh = make_mesh(pings)

    assert not may_ask_names(mesh, mesh.peers[0], THEIRS)


def test_a_users_own_devices_may_ask_and_tagged_ones_are_nobodys() -> None:
    own, tagged = make_mesh(user=1), make_mesh(user=1, tags=("tag:server",))
    unruled = replace(make_mesh(), filter=None)

    assert may_ask_names(own, own.peers[0], THEIRS)
    assert not may_ask_names(tagged, tagged.peers[0], THEIRS)
    assert not may_ask_names(unruled, unruled.peers[0], THEIRS)


def test_the_port_is_that_of_the_field() -> None:
    # An official node with this address was seen at this port.
    assert port_for(ip_address("100.64.0.5")) == 41053
    assert len({port_for(ip_address(MINE), n) for n in range(5)}) == 5
    assert all(0x8000 <= port_for(ip_address(MINE), n) <= 0xFFFF for n in range(256))


def test_who_has_left_meanwhile_is_nobody() -> None:
    callers, mesh = Callers(), make_mesh()

    assert callers.peer_at(mesh, THEIRS) is mesh.peers[0]
    assert callers.peer_at(replace(mesh, peers=()), THEIRS) is None


def test_thousands_of_peers_make_no_question_slow() -> None:
    def cost(number: int) -> float:
        callers, netmap = Callers(), make_netmap(number)
        last = str(netmap.peers[-1].addresses[1])
        callers.peer_at(netmap, last)
        began = time.thread_time()
        for _ in range(2000):
            callers.peer_at(netmap, last)
        return time.thread_time() - began

    assert cost(2000) < 20 * cost(2)
