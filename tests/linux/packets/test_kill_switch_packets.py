"""Packets against the kill switch of an exit provider, without the packet filter beside it."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from tests.linux.packets.wires import APPROVED, HOST, Router

from gatepost.engine.kill_switch import kill_switch_text
from gatepost.model.tunnel import OnlyThroughTunnel

pytestmark = pytest.mark.root

VERSIONS = pytest.mark.parametrize("version", [4, 6])
SENDER = {4: "10.77.1.2", 6: "fd00:77::2"}
INTERNET = {4: "192.0.2.9", 6: "2001:db8::9"}  # by the default route, over eth1


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


@VERSIONS
def test_who_is_neither_is_let_alone(plain: Router, version: int) -> None:
    load(plain, mesh="mesh0")

    assert len(plain.from_mesh(packet(version, INTERNET[version])).lan) == 1
