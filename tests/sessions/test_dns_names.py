"""Which names the mesh answers itself, and who is asked for the others."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.names import plain_server
from gatepost.model.netmap import DnsRoute, DnsSettings
from gatepost.sessions.dns_names import (
    Addresses,
    Missing,
    NamePlan,
    Names,
    Pointer,
    is_inside,
    name_plan,
    via_address,
    via_label,
)
from gatepost.testing.makers import make_netmap, make_node

OFFICE = DnsRoute(suffix="corp.example", servers=(plain_server(ip_address("10.0.0.53")),))
LAB = DnsRoute(suffix="lab.corp.example", servers=(plain_server(ip_address("10.0.9.53")),))
ALL = DnsRoute(suffix="", servers=(plain_server(ip_address("192.0.2.53")),))
PART = DnsRoute(suffix="k8s.mesh.example", servers=ALL.servers)
HERE = DnsRoute(suffix="own.example")
SETTINGS = DnsSettings(
    is_on=True,
    routes=(OFFICE, LAB, ALL, PART, HERE, DnsRoute(suffix="mesh.example")),
    records=(
        ("printer.own.example", ip_address("10.1.0.9")),
        ("a.deep.mesh.example", ip_address("10.1.0.8")),
    ),
)
BOX2 = (ip_address("100.64.0.2"), ip_address("fd7a:115c:a1e0::2"))


def names(settings: DnsSettings = SETTINGS) -> Names:
    return Names(name_plan(replace(make_netmap(2), dns=settings)))


@pytest.mark.parametrize("name", ["box2.mesh.example", "box2"])
def test_a_peer_is_known_by_its_full_and_its_short_name(name: str) -> None:
    assert names().find(name) == Addresses(BOX2)


def test_this_node_knows_itself() -> None:
    found = names().find("box1.mesh.example")

    assert isinstance(found, Addresses)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nobody.mesh.example", Missing.NAME),
        ("www.box2.mesh.example", Missing.NAME),
        ("mesh.example", Missing.RECORD),
        ("deep.mesh.example", Missing.RECORD),
        ("unknown.own.example", Missing.NAME),
        ("own.example", Missing.RECORD),
        ("pod.k8s.mesh.example", PART),
        ("a.corp.example", OFFICE),
        ("corp.example", OFFICE),
        ("a.lab.corp.example", LAB),
        ("notcorp.example", ALL),
        ("notmesh.example", ALL),
        ("", ALL),
        ("printer.own.example", Addresses((ip_address("10.1.0.9"),))),
        ("2.0.64.100.in-addr.arpa", Pointer("box2.mesh.example")),
        ("9.9.64.100.in-addr.arpa", Missing.NAME),
        ("64.100.in-addr.arpa", Missing.RECORD),
        ("63.100.in-addr.arpa", ALL),
        ("1.0.0.10.in-addr.arpa", ALL),
        ("10-0-0-1-via-7", Addresses((ip_address("fd7a:115c:a1e0:b1a:0:7:10.0.0.1"),))),
        ("10-0-0-1-via-7.x.ts.net", Addresses((ip_address("fd7a:115c:a1e0:b1a:0:7:a00:1"),))),
        ("10-0-0-1-via-7.nots.net", ALL),
        ("10-0-0-256-via-7.mesh.example", Missing.NAME),
    ],
)
def test_a_name_is_found_where_it_belongs(name: str, expected: object) -> None:
    assert names().find(name) == expected


def test_reverse_names_of_ipv6_lead_to_the_host_and_to_the_site() -> None:
    host = IPv6Address("fd7a:115c:a1e0::2").reverse_pointer
    site = IPv6Address("fd7a:115c:a1e0:b1a:0:7:10.0.0.1").reverse_pointer

    assert names().find(host) == Pointer("box2.mesh.example")
    assert names().find(site) == Pointer("10-0-0-1-via-7.mesh.example")


def test_without_resolvers_nobody_is_asked() -> None:
    assert names(DnsSettings(is_on=True)).find("www.example.org") is None


def test_a_short_name_of_two_hosts_means_neither() -> None:
    one, other = ip_address("100.64.0.2"), ip_address("100.64.0.3")
    plan = NamePlan(suffix="m.e", hosts=(("a.m.e", (one,)), ("a.x.e", (other,))))

    assert Names(plan).find("a") is None
    assert Names(plan).find("a.x.e") == Addresses((other,))


def test_who_has_logged_out_has_no_name() -> None:
    gone = make_node(2, expired=True)

    assert Names(name_plan(make_netmap(others=(gone,)))).find("box2.mesh.example") is Missing.NAME


@given(st.integers(0, (1 << 32) - 1), st.ip_addresses(v=4))
def test_a_site_name_reads_back(site: int, inner: IPv4Address) -> None:
    label = f"{str(inner).replace('.', '-')}-via-{site}"
    address = via_address(label)

    assert address is not None
    assert via_label(address) == label


@given(st.text("abc-.0123456789via", max_size=40))
def test_no_name_under_the_suffix_is_ever_asked_of_anybody(label: str) -> None:
    found = names(replace(SETTINGS, routes=(ALL, OFFICE))).find(f"{label}.mesh.example")

    assert not isinstance(found, DnsRoute)
    assert found is not None


@given(st.text(max_size=80))
def test_every_text_is_found_or_not(name: str) -> None:
    names().find(name)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True), ("127.0.0.1", True), ("100.64.0.1", True), ("169.254.1.1", True),
        ("fd00::1", True), ("::1", True), ("fe80::1", True), ("::ffff:8.8.8.8", True),
        ("8.8.8.8", False), ("2606:4700::1111", False),
    ],
)  # fmt: skip
def test_inner_addresses_are_told_from_public_ones(address: str, expected: bool) -> None:
    assert is_inside(ip_address(address)) is expected
