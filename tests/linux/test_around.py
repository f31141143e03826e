"""What `gatepost lan` is told about: devices with their addresses, but not loopback and ours."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest
from tests.linux.inside import run_inside

from gatepost.linux.around import read_interfaces
from gatepost.model.owned import DEVICES
from gatepost.model.surroundings import InterfaceFacts
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root


def test_devices_are_told_with_their_addresses_and_cables_but_not_ours(machine: Machine) -> None:
    machine.ip(
        "link add eth0 type veth peer name eth1",
        "link set eth0 addrgenmode none",
        "link set eth0 up",
        "address add 192.0.2.1/24 dev eth0",
        "address add 2001:db8::1/64 dev eth0 nodad",
        *(f"tuntap add {name} mode tun" for name in sorted(DEVICES)),
    )
    unplugged = run_inside(machine, read_interfaces)
    machine.ip("link set eth1 addrgenmode none", "link set eth1 up")
    plugged = run_inside(machine, read_interfaces)

    held = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
    assert set(unplugged) == {
        InterfaceFacts(name="eth0", kind="veth", is_plugged=False, addresses=held),
        InterfaceFacts(name="eth1", kind="veth", is_plugged=False),
    }
    assert set(plugged) == {
        InterfaceFacts(name="eth0", kind="veth", is_plugged=True, addresses=held),
        InterfaceFacts(name="eth1", kind="veth", is_plugged=True),
    }
