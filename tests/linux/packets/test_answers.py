"""Who asks this machine beside the mesh is answered beside the mesh, whatever peers carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Packet
from tests.linux.packets.wires import WISHES, Router, make_rules

from gatepost.model.netmap import FilterRule, PortRange
from gatepost.model.owned import (
    ANSWER_MARK,
    ANSWER_PRIORITY,
    MARK,
    MARK_MASK,
    MESH_PRIORITY,
    ROUTE_TABLE,
)
from gatepost.testing.makers import make_range

pytestmark = [pytest.mark.root, pytest.mark.parametrize("version", [4, 6])]

HERE = {4: "10.1.0.1", 6: "fd00:1::1"}
SOMEBODY = {4: "198.51.100.9", 6: "2001:db8::9"}  # in networks that a peer carries, too
CARRIED = ("198.51.100.0/24", "2001:db8::/32")
FILTER = replace(
    WISHES,
    carried=(*WISHES.carried, *map(ip_network, CARRIED)),
    admit=(
        *make_rules(),
        FilterRule(
            sources=tuple(map(make_range, CARRIED)),
            destinations=tuple((make_range(n), PortRange()) for n in ("0.0.0.0/0", "::/0")),
        ),
    ),
)
RULES = (
    f"rule add fwmark {ANSWER_MARK:#x}/{MARK_MASK:#x} lookup main priority {ANSWER_PRIORITY}",
    f"rule add not fwmark {MARK:#x}/{MARK_MASK:#x} lookup {ROUTE_TABLE} priority {MESH_PRIORITY}",
)


@pytest.fixture
def router(plain: Router) -> Iterator[Router]:
    """Return the router with a peer that carries where somebody is."""
    undo = [rule.replace("add", "delete") for rule in RULES]
    for family, network in zip(("-4", "-6"), CARRIED, strict=True):
        for words in (*RULES, f"route add {network} dev gatepost0 table {ROUTE_TABLE}"):
            plain.machine.run("ip", family, *words.split())
    plain.load(FILTER)
    plain.forget()
    yield plain
    for family, network in zip(("-4", "-6"), CARRIED, strict=True):
        for words in (*undo, f"route delete {network} dev gatepost0 table {ROUTE_TABLE}"):
            plain.machine.run("ip", family, *words.split())


def ping(version: int, source: str | None = None) -> Packet:
    source = source or SOMEBODY[version]
    if version == 4:
        return IP(src=source, dst=HERE[4]) / ICMP(id=7)
    return IPv6(src=source, dst=HERE[6]) / ICMPv6EchoRequest(id=7)


def test_who_came_by_an_uplink_is_answered_by_it(router: Router, version: int) -> None:
    for _ in range(2):
        answer = router.from_lan(ping(version))
        assert [p.dst for p in answer.lan] == [SOMEBODY[version]]
        assert not answer.mesh


def test_who_came_through_the_mesh_is_answered_through_it(router: Router, version: int) -> None:
    answer = router.from_mesh(ping(version))

    assert [p.dst for p in answer.mesh] == [SOMEBODY[version]]
    assert not answer.lan


def test_a_refused_connection_is_said_where_it_came_from(router: Router, version: int) -> None:
    kind = IP if version == 4 else IPv6
    knock = kind(src=SOMEBODY[version], dst=HERE[version]) / TCP(sport=40000, dport=9, flags="S")

    answer = router.from_lan(knock)

    assert [p[TCP].flags.value & 4 for p in answer.lan] == [4]  # RST
    assert not answer.mesh


def test_what_the_main_table_looks_for_elsewhere_goes_through_the_mesh(
    router: Router, version: int
) -> None:
    """As between two routers of one LAN, where the other one hands over what the mesh sent."""
    network = CARRIED[version == 6]
    router.machine.run("ip", f"-{version}", "route", "add", network, "dev", "gatepost0")
    try:
        answer = router.from_lan(ping(version))
    finally:
        router.machine.run("ip", f"-{version}", "route", "delete", network, "dev", "gatepost0")

    assert [p.dst for p in answer.mesh] == [SOMEBODY[version]]
    assert not answer.lan


def test_what_this_machine_begins_itself_goes_through_the_mesh(
    router: Router, version: int
) -> None:
    router.machine.attempt("ping", "-c1", "-W1", SOMEBODY[version])

    sent = router.from_lan()
    assert [p.dst for p in sent.mesh] == [SOMEBODY[version]]
    assert not sent.lan
