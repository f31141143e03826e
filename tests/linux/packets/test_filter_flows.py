"""Flows that have begun, when the rules change: what is not allowed any more stops at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Packet, Raw
from tests.linux.packets.wires import (
    EVERYTHING,
    HOST,
    NOBODY,
    OWN,
    SERVER_ONLY,
    WISHES,
    Outcome,
    Router,
    peer,
)

pytestmark = pytest.mark.root

VERSIONS = pytest.mark.parametrize("version", [4, 6])
WITHDRAWN = replace(WISHES, admit=())


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets of one flow between a peer and a host: there, and back."""

    router: Router
    there: Packet
    back: Packet

    def ask(self) -> Outcome:
        return self.router.from_mesh(self.there)

    def answer(self) -> Outcome:
        return self.router.from_lan(self.back)


def ip(source: str, target: str) -> Packet:
    return IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target)


def to_host(router: Router, version: int, kind: type[Packet], number: int = EVERYTHING) -> Flow:
    """Return a flow that is in its middle: TCP packets of it carry ACK."""
    host, far = HOST[version], peer(number, version)

    def between(sport: int, dport: int) -> Packet:
        if kind is TCP:
            return TCP(sport=sport, dport=dport, flags="A")
        return UDP(sport=sport, dport=dport)

    return Flow(
        router,
        ip(far, host) / between(40000, 80) / Raw(b"?"),
        ip(host, far) / between(80, 40000) / Raw(b"!"),
    )


@VERSIONS
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_flow_through_the_box_ends_when_its_rule_is_withdrawn(
    router: Router, version: int, kind: type[Packet]
) -> None:
    flow = to_host(router, version, kind)
    assert flow.ask().lan
    assert flow.answer().mesh
    assert flow.ask().lan

    router.load(WITHDRAWN)

    assert flow.ask().is_nothing
    flow.answer()
    assert flow.ask().is_nothing, "an answer renewed a flow that is refused"


@VERSIONS
def test_a_flow_to_the_box_ends_when_its_rule_is_withdrawn(router: Router, version: int) -> None:
    echo = ICMP(type="echo-request", id=7) if version == 4 else ICMPv6EchoRequest(id=7)
    ping = ip(peer(EVERYTHING, version), OWN[version]) / echo
    assert router.from_mesh(ping).mesh
    assert router.from_mesh(ping).mesh

    router.load(WITHDRAWN)

    assert router.from_mesh(ping).is_nothing
    assert router.from_mesh(ping).is_nothing


@VERSIONS
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_change_that_does_not_concern_a_flow_leaves_it_alone(
    router: Router, version: int, kind: type[Packet]
) -> None:
    flow = to_host(router, version, kind)
    assert flow.ask().lan
    assert flow.answer().mesh

    router.load(replace(WISHES, listen=()))

    assert flow.answer().mesh
    assert flow.ask().lan
    assert flow.answer().mesh


@VERSIONS
def test_a_flow_that_is_allowed_again_goes_on(router: Router, version: int) -> None:
    flow = to_host(router, version, UDP)
    assert flow.ask().lan
    router.load(WITHDRAWN)
    assert flow.ask().is_nothing
    router.load(WISHES)

    assert flow.ask().lan


@VERSIONS
def test_what_began_in_the_lan_goes_on_whatever_the_rules_for_peers(
    router: Router, version: int
) -> None:
    host, far = HOST[version], peer(NOBODY, version)
    question = ip(host, far) / UDP(sport=5000, dport=6000) / Raw(b"?")
    answer = ip(far, host) / UDP(sport=6000, dport=5000) / Raw(b"!")
    assert router.from_lan(question).mesh
    assert router.from_mesh(answer).lan
    router.load(WITHDRAWN)

    assert router.from_mesh(answer).lan
    assert router.from_lan(question).mesh


@VERSIONS
def test_what_began_in_the_lan_ends_when_the_lan_may_not_go_there(
    router: Router, version: int
) -> None:
    host, far = HOST[version], peer(EVERYTHING, version)
    question = ip(host, far) / UDP(sport=5000, dport=6000) / Raw(b"?")
    answer = ip(far, host) / UDP(sport=6000, dport=5000) / Raw(b"!")
    assert router.from_lan(question).mesh
    assert router.from_mesh(answer).lan
    router.load(replace(WISHES, forward_out=()))
    router.from_mesh(answer)

    assert router.from_lan(question).is_nothing


@VERSIONS
def test_a_flow_ends_when_its_network_is_no_longer_approved(router: Router, version: int) -> None:
    flow = to_host(router, version, UDP)
    assert flow.ask().lan
    assert flow.answer().mesh

    router.load(replace(WISHES, forward=()))

    assert flow.ask().is_nothing


@VERSIONS
def test_a_flow_of_one_peer_opens_nothing_for_another(router: Router, version: int) -> None:
    assert to_host(router, version, UDP).ask().lan

    assert to_host(router, version, UDP, SERVER_ONLY).ask().is_nothing
