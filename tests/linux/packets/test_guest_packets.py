"""Packets of guests against the packet filter: whose address they have in the mesh."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from tests.linux.packets.wires import APPROVED, FAR, HOST, OWN, WISHES, Router

from gatepost.model.guests import Guests
from gatepost.model.via6 import via_prefix

pytestmark = pytest.mark.root

SITE = str(via_prefix(7, IPv4Network("192.168.1.9/32"))[0])
WITH_GUESTS = replace(WISHES, guests=(Guests("eth1", frozenset(APPROVED)),))


def packet(target: str, port: int = 40000) -> Packet:
    return IPv6(src=HOST[6], dst=target) / UDP(sport=port, dport=9)


def test_a_guest_goes_into_the_mesh_under_its_own_address(router: Router) -> None:
    router.load(WITH_GUESTS)

    assert [p.src for p in router.from_lan(packet(FAR[6])).mesh] == [HOST[6]]


def test_a_guest_never_has_the_rights_of_this_box_at_a_site_behind_4via6(router: Router) -> None:
    as_host = router.from_lan(packet(SITE)).mesh
    router.load(WITH_GUESTS)

    assert [p.src for p in as_host] == [OWN[6]]
    assert router.from_lan(packet(SITE)).is_nothing
    assert router.from_lan(packet(SITE, port=40001)).is_nothing
