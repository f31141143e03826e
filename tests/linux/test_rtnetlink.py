"""Nouns to the kernel's messages and back, without a kernel."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.linux import rtnetlink
from gatepost.linux.netlink import RoutingMessage, RoutingType
from gatepost.linux.netlink_message import Message, Request, read_messages
from gatepost.model.kernel import Address, Family, Route, Rule
from gatepost.model.netmap import IPAddress, IPNetwork

NAMES = {3: "gatepost0"}
ROUTE = Route(52, ip_network("10.1.0.0/16"), "gatepost0", source=ip_address("100.64.0.1"))
# By hand from rtnetlink.h, on a machine with the low byte first: IPv4, length 16, table 52,
# protocol 152, scope link, unicast; then RTA_DST, RTA_OIF and RTA_PREFSRC.
ROUTE_BODY = bytes.fromhex(
    "02100000 3498fd01 00000000 08000100 0a010000 08000400 03000000 08000700 64400001"
)

tables = st.integers(1, 2**32 - 1)
numbers = st.integers(0, 2**32 - 1)


def sent(request: Request) -> Message:
    """Return the request as the kernel would read it."""
    (message,) = read_messages(request.encode(1))
    return message


@st.composite
def networks(draw: st.DrawFn, version: int = 0) -> IPNetwork:
    if version == 4 or (not version and draw(st.booleans())):
        return IPv4Network((draw(numbers), draw(st.integers(0, 32))), strict=False)
    number = draw(st.integers(0, 2**128 - 1))
    return IPv6Network((number, draw(st.integers(0, 128))), strict=False)


@st.composite
def addresses(draw: st.DrawFn, version: int) -> IPAddress:
    number = draw(st.integers(1, 2**32 - 1))
    return IPv4Address(number) if version == 4 else IPv6Address(number << 96)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    network = draw(networks())
    kind: rtnetlink.Kind = draw(st.sampled_from(("unicast", "blackhole", "unreachable", "throw")))
    source = draw(st.none() | addresses(network.version))
    device = "gatepost0" if kind == "unicast" else None
    return Route(draw(tables), network, device, kind, source)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mark = draw(st.none() | numbers)
    mask = None if mark is None else draw(st.none() | st.integers(0, 2**32 - 2))
    family: Family = draw(st.sampled_from((4, 6)))
    return Rule(
        family=family,
        priority=draw(numbers),
        table=draw(tables),
        mark=mark,
        mask=mask,
        invert=draw(st.booleans()),
        destination=draw(st.none() | networks(family)),
        incoming=draw(st.none() | st.just("gatepost0")),
        outgoing=draw(st.none() | st.just("gatepost-exit")),
    )


def test_a_route_is_written_as_the_kernel_wants_it() -> None:
    request = rtnetlink.write_route(ROUTE, 3, new=True)

    assert (request.type, request.body) == (24, ROUTE_BODY)


@given(routes())
def test_a_route_comes_back_as_it_was(route: Route) -> None:
    request = rtnetlink.write_route(route, 3 if route.device else 0, new=True)

    assert rtnetlink.read_route(sent(request), NAMES) == route


@given(rules())
def test_a_rule_comes_back_as_it_was(rule: Rule) -> None:
    assert rtnetlink.read_rule(sent(rtnetlink.add_rule(rule))) == rule


@pytest.mark.parametrize("text", ["100.64.0.1", "fd7a:115c:a1e0::1"])
def test_an_address_comes_back_as_it_was(text: str) -> None:
    address = ip_address(text)
    request = rtnetlink.write_address(Address("gatepost0", address), 3, new=True)
    held = rtnetlink.read_interface_address(sent(request))

    assert held is not None
    assert (held.index, held.address, held.length) == (3, address, address.max_prefixlen)
    assert held.flags == rtnetlink.NO_DAD | rtnetlink.NO_PREFIX_ROUTE


def test_a_link_comes_back_with_what_made_it() -> None:
    link = rtnetlink.read_link(sent(rtnetlink.add_link("gatepost0", "wireguard")))

    assert (link.name, link.kind, link.is_up) == ("gatepost0", "wireguard", False)


def test_a_route_that_got_a_gateway_is_not_the_one_that_was_asked_for() -> None:
    gateway = bytes.fromhex("08000500 0a000001")
    bent = rtnetlink.read_route(Message(RoutingType.NEW_ROUTE, 0, 1, ROUTE_BODY + gateway), NAMES)

    assert bent is not None
    assert bent != ROUTE
    assert bent.key == ROUTE.key


def test_an_attribute_newer_than_the_library_is_no_hindrance() -> None:
    newer = bytes.fromhex("0800ff00 00000001")
    message = Message(RoutingType.NEW_ROUTE, 0, 1, ROUTE_BODY + newer)

    assert rtnetlink.read_route(message, NAMES) == ROUTE


@pytest.mark.parametrize("length", range(len(ROUTE_BODY)))
def test_a_route_cut_short_is_an_error_or_another_route(length: int) -> None:
    message = Message(RoutingType.NEW_ROUTE, 0, 1, ROUTE_BODY[:length])
    try:
        route = rtnetlink.read_route(message, NAMES)
    except OSError:
        return

    assert route != ROUTE


def test_a_number_of_the_wrong_kind_is_named() -> None:
    message = RoutingMessage(Message(RoutingType.NEW_ROUTE, 0, 1, ROUTE_BODY))

    with pytest.raises(OSError, match="RTA_DST is no number"):
        message.number("RTA_DST")
    with pytest.raises(OSError, match="RTA_OIF is no text"):
        message.text("RTA_OIF")


def test_a_message_that_nobody_asked_for_is_named() -> None:
    with pytest.raises(OSError, match="type 28"):
        RoutingMessage(Message(28, 0, 1, bytes(12)))


def test_families_other_than_ip_are_left_out() -> None:
    body = bytes((socket.AF_BRIDGE, 0, 0, 0)) + bytes(4)

    assert rtnetlink.read_interface_address(Message(20, 0, 1, body)) is None
