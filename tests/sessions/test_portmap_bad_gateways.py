"""Gateways that lie, babble or forget their manners, in simulated time."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sessions.portmap_world import (
    MAPPED,
    OUTSIDE,
    PORT,
    PROTOCOLS,
    SEARCHED,
    US,
    falling,
    make_world,
    standing,
)

from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap import CHECK, SETTLE
from gatepost.sessions.portmap_values import SHORTEST, HttpReply, Protocol
from gatepost.wire import natpmp, pcp, upnp
from gatepost.wire.upnp import CONNECTIONS

each_protocol = pytest.mark.parametrize("word", list(PROTOCOLS))


@each_protocol
@pytest.mark.parametrize(
    "address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1", "240.0.0.1", "100.64.3.3"]
)
def test_an_address_at_which_nobody_is_reached_is_refused(word: str, address: str) -> None:
    world = make_world(word, outside=IPv4Address(address))

    assert world.external is None
    assert world.session.seen.refusals[PROTOCOLS[word]]


@each_protocol
def test_a_private_address_is_told_for_neighbours_behind_the_same_nat(word: str) -> None:
    world = make_world(word, outside=IPv4Address("10.0.0.9"))

    assert world.external == Endpoint(IPv4Address("10.0.0.9"), PORT)


@pytest.mark.parametrize("word", ["natpmp", "pcp"])
def test_a_mapping_without_a_lifetime_is_none(word: str) -> None:
    assert make_world(word, lifetime=0).external is None


@pytest.mark.parametrize("word", ["natpmp", "pcp"])
def test_a_lifetime_of_one_second_does_not_make_us_ask_every_half(word: str) -> None:
    world = make_world(word, lifetime=1)
    before = len(world.sent)
    world.run(600.0)

    assert world.external == MAPPED
    assert len(world.sent) - before < 600 / (SHORTEST / 2) * 10


@pytest.mark.parametrize("word", ["natpmp", "pcp"])
def test_a_clock_that_runs_backwards_does_not_make_us_ask_in_a_loop(word: str) -> None:
    world = make_world(word, epoch=falling)
    before = len(world.gateway.asked)
    world.run(600.0)

    assert world.external == MAPPED
    assert len(world.gateway.asked) - before <= 600 / CHECK + 1
    assert world.changes == 1


def test_a_flood_of_announcements_does_not_make_us_ask_in_a_loop() -> None:
    world = make_world("natpmp", epoch=standing)
    before = len(world.gateway.asked)
    for _ in range(1000):
        world.announce(natpmp.write_answer(natpmp.AddressAnswer(epoch=0, address=OUTSIDE)))
        world.run(0.1)

    assert len(world.gateway.asked) - before <= 100 / SETTLE + 1


def test_answers_of_others_than_the_gateway_are_ignored() -> None:
    world = make_world("natpmp")
    stranger = Endpoint(IPv4Address("192.168.1.66"), natpmp.PORT)
    other_port = Endpoint(US.address, 53)
    lie = natpmp.write_answer(natpmp.AddressAnswer(epoch=0, address=IPv4Address("198.18.6.6")))
    for source in (stranger, other_port):
        world.hear(lie, source)
        world.announce(lie, source)
    world.run(10.0)

    assert world.external == MAPPED
    assert world.gateway.asked == ["natpmp"]


def test_a_pcp_answer_with_another_nonce_is_ignored() -> None:
    world = make_world("pcp", nonce=b"x" * 12)
    world.run(60.0)

    assert world.external is None
    assert world.session.seen.refusals[Protocol.PCP] == "no answer"


def test_a_gateway_of_another_version_is_not_one_that_refuses() -> None:
    world = make_world()
    world.session.look(world.now)
    world.session.on_timer(world.now)
    world.hear(natpmp.write_answer(natpmp.Refusal(epoch=1, result=1, is_map=False)))
    world.hear(pcp.write_answer(pcp.Announced(1, 1)))
    world.run(2.0)

    assert world.session.seen.refusals == {}


@given(packets=st.lists(st.tuples(st.binary(max_size=80), st.booleans()), max_size=20))
def test_garbage_changes_nothing(packets: list[tuple[bytes, bool]]) -> None:
    world = make_world("natpmp")
    for packet, as_search in packets:
        world.hear(b"HTTP/1.1 200 OK\r\n" + packet if as_search else packet)
        world.announce(packet)
        world.run(0.3)
    world.run(CHECK)

    assert world.external == MAPPED


# --- UPnP --------------------------------------------------------------------------------------


def test_a_gateway_of_version_2_is_asked_for_any_port() -> None:
    world = make_world("upnp", services=(CONNECTIONS[0],), taken={PORT})

    assert "AddAnyPortMapping" in world.gateway.asked
    assert world.external == Endpoint(OUTSIDE, PORT + 1)


def test_a_gateway_that_maps_for_ever_only_is_asked_for_that() -> None:
    world = make_world("upnp", fault=725)

    assert world.external == MAPPED


def test_a_gateway_that_refuses_every_port_is_left_alone() -> None:
    world = make_world("upnp", fault=501)

    assert world.external is None
    assert world.gateway.asked == ["AddPortMapping"]
    assert "501" in world.session.seen.refusals[Protocol.UPNP]


def test_of_several_services_one_that_is_up_with_a_public_address_is_used() -> None:
    world = make_world("upnp", services=(CONNECTIONS[2], CONNECTIONS[1], CONNECTIONS[1]))

    assert world.external == MAPPED
    assert world.gateway.asked[:2] == ["GetStatusInfo", "GetExternalIPAddress"]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        HttpReply(404, b""),
        HttpReply(200, b"<html>"),
        HttpReply(200, b"<root/>"),
        HttpReply(200, b'<!DOCTYPE r [<!ENTITY a "b">]><root/>'),
    ],
)
def test_a_useless_description_is_a_refusal(reply: HttpReply | None) -> None:
    world = make_world("upnp", page=reply, has_page=reply is not None)
    world.run(3.0)

    assert world.external is None
    assert world.session.seen.upnp
    assert world.session.seen.refusals[Protocol.UPNP]


def test_an_answer_of_another_device_leads_to_the_gateway_only() -> None:
    world = make_world("natpmp")
    other = Endpoint(IPv4Address("192.168.1.50"), SEARCHED.port)
    world.hear(
        f"HTTP/1.1 200 OK\r\nST: {upnp.GATEWAY_1}\r\n"
        "LOCATION: http://192.168.1.50:80/evil.xml\r\n\r\n".encode(),
        other,
    )
    world.run(CHECK)

    assert world.refused == []
    assert world.external == MAPPED
