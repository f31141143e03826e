"""Packets against the kill switch of an exit provider, without the packet filter beside it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from tests.linux.packets.wires import (
    APPROVED,
    ELSEWHERE,
    EVERYTHING,
    FAR,
    HOST,
    WISHES,
    Router,
    peer,
)

from gatepost.engine.kill_switch import kill_switch_text
from gatepost.model.renumber import Renumber
from gatepost.model.tunnel import OnlyThroughTunnel
from gatepost.testing.makers import ALLOW_ALL

pytestmark = pytest.mark.root

VERSIONS = pytest.mark.parametrize("version", [4, 6])
SENDER = {4: "10.77.1.2", 6: "fd00:77::2"}
INTERNET = {4: "192.0.2.9", 6: "2001:db8::9"}  # by the default route, over eth1

PAIR = Renumber(IPv4Network("10.201.7.0/24"), IPv4Network("10.2.0.0/24"))
WISH = OnlyThroughTunnel(tunnel="gatepost-exit", mesh="gatepost0", spared=frozenset(APPROVED))


def packet(version: int, target: str) -> Packet:
    ip = IP if version == 4 else IPv6
    return ip(src=SENDER[version], dst=target) / UDP(sport=40000, dport=9)


def load(router: Router, *guests: str, mesh: str) -> None:
    wish = OnlyThroughTunnel(tunnel="gatepost-exit", mesh=mesh, spared=frozenset(APPROVED))
    router.machine.nft(f"flush ruleset\n{kill_switch_text(wish, guests)}")
    router.forget()


@VERSIONS
@pytest.mark.parametrize(("mesh", "guests"), [("gatepost0", ()), ("mesh0", ("gatepost0",))])
def test_nobody_from_the_mesh_or_a_guest_leaves_beside_the_provider(
    plain: Router, version: int, mesh: str, guests: tuple[str, ...]
) -> None:
    load(plain, *guests, mesh=mesh)

    assert plain.from_mesh(packet(version, INTERNET[version])).is_nothing
    assert len(plain.from_mesh(packet(version, HOST[version])).lan) == 1


@VERSIONS
def test_a_guest_goes_into_the_mesh_wherever_that_leads(plain: Router, version: int) -> None:
    load(plain, "gatepost0", mesh="eth1")

    assert len(plain.from_mesh(packet(version, INTERNET[version])).lan) == 1


def test_a_network_of_this_site_is_reached_by_its_outer_addresses_only(plain: Router) -> None:
    forward = (*APPROVED, PAIR.inside)
    plain.load(replace(WISHES, admit=ALLOW_ALL, forward=forward, renumbered=(PAIR,)))
    plain.forget()
    outer, inner = (
        IP(src=peer(EVERYTHING, 4), dst=target) / UDP(sport=40000, dport=9)
        for target in ("10.201.7.9", ELSEWHERE[4])
    )
    before = plain.from_mesh(inner).lan
    plain.machine.nft(kill_switch_text(WISH, renumbered=(PAIR,)))

    assert [p.dst for p in before] == [ELSEWHERE[4]]
    assert [p.dst for p in plain.from_mesh(outer).lan] == [ELSEWHERE[4]]
    assert plain.from_mesh(inner).is_nothing


def test_answers_come_back_to_a_network_of_this_site_with_an_alias(plain: Router) -> None:
    plain.load(replace(WISHES, renumbered=(PAIR,)))
    plain.machine.nft(kill_switch_text(WISH, renumbered=(PAIR,)))
    plain.forget()
    question = IP(src=ELSEWHERE[4], dst=FAR[4]) / UDP(sport=40000, dport=9)
    answer = IP(src=FAR[4], dst="10.201.7.9") / UDP(sport=9, dport=40000)

    assert [p.src for p in plain.from_lan(question).mesh] == ["10.201.7.9"]
    assert [p.dst for p in plain.from_mesh(answer).lan] == [ELSEWHERE[4]]


@VERSIONS
def test_who_is_neither_is_let_alone(plain: Router, version: int) -> None:
    load(plain, mesh="mesh0")

    assert len(plain.from_mesh(packet(version, INTERNET[version])).lan) == 1
