"""What the machine is attached to, told from our own device, loopback and link-local."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from tests.linux.inside import run_inside

from gatepost.linux.interfaces import Attachment, read_attachment
from gatepost.model.process import LocalNetworks
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root


@pytest.fixture
def box(machine: Machine) -> Machine:
    machine.ip(
        "link add eth0 type veth peer name peer0",
        "link add gatepost0 type veth peer name peer1",
        "link set peer0 up",
        "link set peer1 up",
        "link set eth0 up",
        "link set gatepost0 up",
        "address add 192.0.2.1/24 dev eth0",
        "address add 100.64.0.9/32 dev eth0",
        "address add 2001:db8::1/64 dev eth0 nodad",
        "address add 2001:db8::2/64 dev eth0 nodad preferred_lft 0",
        "address add 100.64.0.1/32 dev gatepost0",
        "address add 10.0.0.1/8 dev gatepost0",
        "address add 203.0.113.7/32 dev lo",
    )
    return machine


def test_our_device_loopback_link_local_and_old_addresses_do_not_count(box: Machine) -> None:
    seen = run_inside(box, read_attachment)

    assert seen == Attachment(
        local=LocalNetworks(
            networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/64")),
            addresses=tuple(map(ip_address, ("100.64.0.9", "192.0.2.1", "2001:db8::1"))),
        ),
        endpoints=(ip_address("192.0.2.1"), ip_address("2001:db8::1")),
        links=("eth0", "peer0", "peer1"),
    )


def test_a_link_that_is_down_does_not_count(box: Machine) -> None:
    box.ip("link set eth0 down")

    assert run_inside(box, read_attachment).endpoints == ()


@pytest.mark.parametrize("cut", ["link set peer0 down", "link set eth0 down"])
def test_a_network_whose_cable_is_out_is_severed(box: Machine, cut: str) -> None:
    box.ip(cut)
    local = run_inside(box, read_attachment).local

    assert local.networks == ()
    assert ip_network("192.0.2.0/24") in local.severed


def test_a_way_out_is_seen_for_each_version(box: Machine) -> None:
    box.ip("route add default via 192.0.2.2")
    first = run_inside(box, read_attachment)
    box.run("ip", "-6", "route", "add", "default", "via", "2001:db8::9", "dev", "eth0")
    second = run_inside(box, read_attachment)

    assert (first.has_default_v4, first.has_default_v6) == (True, False)
    assert (second.has_default_v4, second.has_default_v6) == (True, True)


def test_a_way_out_through_the_mesh_is_none(box: Machine) -> None:
    box.ip(
        "route add default dev gatepost0 table 52",
        "rule add not fwmark 0x80000/0xff0000 priority 5270 lookup 52",
    )

    assert not run_inside(box, read_attachment).has_default_v4
