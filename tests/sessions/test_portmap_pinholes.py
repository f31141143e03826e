"""A port of an IPv6 firewall: opened, kept open, noticed when it is gone, and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from tests.sessions.portmap_world import FAULT, PORT, World

from gatepost.model.gateway import Gateway6
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.portmap import CHECK
from gatepost.sessions.portmap_values import (
    LIFETIME,
    HttpReply,
    HttpRequest,
    Protocol,
    flaw_of_v6,
)
from gatepost.wire import natpmp, pcp, upnp

US = Gateway6(IPv6Address("fe80::1"), IPv6Address("2001:db8:1::2"), "eth0")
OPEN = Endpoint(US.local, PORT)
SERVICE = Endpoint(US.address, natpmp.PORT)
LOCATION = "http://[2001:db8:1::1]:5000/root.xml"
DESCRIPTION = (
    "<root><device><serviceList><service><serviceType>"
    f"{upnp.FIREWALLS[0]}</serviceType><controlURL>/fw</controlURL>"
    "</service></serviceList></device></root>"
)
YES = {"FirewallEnabled": "1", "InboundPinholeAllowed": "1"}


@dataclass
class Router:
    """A home router with a firewall for IPv6; `open` are the pinholes by their number."""

    speaks: frozenset[str]
    status: Mapping[str, str] = field(default_factory=lambda: YES)
    result: int = 0
    address: IPAddress = US.local  # what it calls the external one
    number: str = "7"
    open: dict[int, int] = field(default_factory=dict[int, int])
    asked: list[str] = field(default_factory=list[str])
    began: float = 0.0

    def on_datagram(self, to: Endpoint, packet: bytes, now: float) -> list[tuple[bytes, Endpoint]]:
        if to == SERVICE and "pcp" in self.speaks:
            return [(pcp.write_answer(self._pcp(pcp.read_request(packet), now)), SERVICE)]
        if to.port == upnp.SEARCH_PORT and "upnp" in self.speaks:
            answer = f"HTTP/1.1 200 OK\r\nST: {upnp.GATEWAY_2}\r\nLOCATION: {LOCATION}\r\n\r\n"
            return [(answer.encode(), Endpoint(IPv6Address("2001:db8:1::1"), 1900))]
        return []

    def _pcp(self, request: pcp.Request, now: float) -> pcp.Answer:
        epoch = int(now - self.began)
        if isinstance(request, pcp.Announce):
            return pcp.Announced(epoch)
        assert request.client == US.local
        self.asked.append("map")
        if request.lifetime and not self.result:
            self.open[request.internal] = request.lifetime
        else:
            self.open.pop(request.internal, None)
        return pcp.Mapped(
            epoch=epoch, result=self.result, lifetime=request.lifetime, nonce=request.nonce,
            internal=request.internal, external=request.internal, address=self.address,
        )  # fmt: skip

    def on_http(self, request: HttpRequest) -> HttpReply:
        if not request.action:
            return HttpReply(200, DESCRIPTION.encode())
        action, arguments = upnp.read_call(request.body)
        self.asked.append(action)
        try:
            results = self._call(action, arguments)
        except LookupError as error:
            return HttpReply(500, FAULT.format(*error.args).encode())
        return HttpReply(200, upnp.write_call("urn:x", f"{action}Response", results)[1])

    def _call(self, action: str, arguments: Mapping[str, str]) -> Mapping[str, str]:
        if action == "GetFirewallStatus":
            return self.status
        if action == "AddPinhole":
            assert arguments["InternalClient"] == str(US.local)
            assert (arguments["InternalPort"], arguments["Protocol"]) == (str(PORT), "17")
            self.open[7] = int(arguments["LeaseTime"])
            return {"UniqueID": self.number}
        if int(arguments["UniqueID"]) not in self.open:
            raise LookupError(704, "NoSuchEntry")
        if action == "DeletePinhole":
            del self.open[7]
        return {"PinholePackets": "0"}


each_protocol = pytest.mark.parametrize("speaks", ["pcp", "upnp"])


def make_world(*speaks: str, **traits: Any) -> World[Router]:  # whatever Router takes
    """Return a world two seconds after the session began."""
    world = World(Router(frozenset(speaks), **traits), US)
    world.run(2.0)
    return world


@each_protocol
def test_the_port_is_opened_for_our_own_address_and_closed_when_it_is_released(speaks: str) -> None:
    world = make_world(speaks)
    opened, mapping = dict(world.gateway.open), world.session.mapping
    world.do(world.session.release(world.now))

    assert list(opened.values()) == [LIFETIME]
    assert mapping
    assert (str(mapping.protocol).lower(), mapping.external) == (speaks, OPEN)
    assert world.gateway.open == {}


@each_protocol
def test_the_port_stays_open_over_its_lifetime(speaks: str) -> None:
    world = make_world(speaks)
    world.gateway.asked.clear()
    world.run(LIFETIME * 1.2)
    renewals = [a for a in world.gateway.asked if a in {"map", "UpdatePinhole"}]

    assert world.session.external == OPEN
    assert len(renewals) == 2


def test_a_port_that_is_released_while_it_is_renewed_is_closed() -> None:
    world = make_world("upnp")
    world.slow = "UpdatePinhole"
    while not world.waiting:
        world.run(1.0)
    world.do(world.session.release(world.now))

    assert world.gateway.open == {}


@each_protocol
def test_a_router_that_has_begun_anew_is_asked_again(speaks: str) -> None:
    world = make_world(speaks)
    world.run(100.0)
    world.gateway.open.clear()
    world.gateway.began = world.now
    world.run(CHECK + 10.0)

    assert len(world.gateway.open) == 1


def test_both_protocols_are_looked_for_and_the_other_is_asked_when_one_refuses() -> None:
    world = make_world("pcp", "upnp", result=2)
    seen = world.session.seen

    assert (seen.nat_pmp, seen.pcp, seen.upnp) == (None, True, True)
    assert seen.refusals == {Protocol.PCP: "mapping is switched off in the gateway"}
    assert world.session.mapping
    assert world.session.mapping.protocol is Protocol.UPNP


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({**YES, "FirewallEnabled": "0"}, "no firewall"),
        ({**YES, "InboundPinholeAllowed": "0"}, "switched off"),
    ],
)
def test_a_firewall_that_opens_nothing_says_why(status: Mapping[str, str], words: str) -> None:
    world = make_world("upnp", status=status)

    assert world.session.mapping is None
    assert words in world.session.seen.refusals[Protocol.UPNP]


def test_a_number_that_is_none_is_refused() -> None:
    world = make_world("upnp", number="<seven>")

    assert world.session.mapping is None


@pytest.mark.parametrize("address", ["fe80::2", "::", "ff02::1", "fd7a:115c:a1e0::1"])
def test_an_address_that_no_packet_comes_to_is_refused(address: str) -> None:
    world = make_world("pcp", address=IPv6Address(address))

    assert world.session.mapping is None
    assert address in world.session.seen.refusals[Protocol.PCP]


def test_an_external_address_of_the_wrong_kind_is_none() -> None:
    assert "not of IPv6" in flaw_of_v6(IPv4Address("203.0.113.1"), PORT)
    assert "port 0" in flaw_of_v6(US.local, 0)
    assert flaw_of_v6(US.local, PORT) == ""
