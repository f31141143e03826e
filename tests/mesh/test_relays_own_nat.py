"""Relays where the box itself is the NAT of its site, and gives every flow a random port."""

from __future__ import annotations

import time

import pytest
from tests.mesh.relay_lab import await_kernel, await_path, endpoints, relay_lab

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import mesh_v4
from gatepost.testing.nat_stream import start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(900)]

SETTLING = 40.0  # seconds
LOSS = 0.05  # of the stream: the ports change once, and until then nothing comes in
NATS = {"one": Nat.NONE, "two": Nat.NONE}
RANDOM_PORTS = """\
table ip home {
	chain out {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" masquerade random
	}
}
"""


def randomise(lab: Lab) -> None:
    """Make routers of both boxes, and keep them from each other."""
    one, two = (lab.boxes[name].site for name in ("one", "two"))
    for site in (one, two):
        site.box.nft(RANDOM_PORTS)
    a, b = one.public_v4, two.public_v4
    lab.topology.internet.nft(
        "table inet cut { chain carry { type filter hook forward priority 0;"
        f" ip saddr {a} ip daddr {b} drop; ip saddr {b} ip daddr {a} drop; }}; }}"
    )


def test_discovery_and_wireguard_leave_with_the_port_that_the_relay_has_bound() -> None:
    with relay_lab(NATS, prepare=randomise) as lab:
        one, two = lab.boxes["one"], lab.boxes["two"]
        stream = start_stream(one.site.box, mesh_v4(two), patient(SETTLING))
        await_path(lab, "relay")
        await_kernel(lab)
        time.sleep(patient(10.0))  # longer than a path without pongs is believed
        still = endpoints(one), endpoints(two)
        flow = stream.end()
        print(f"first {flow.first} s, lost {flow.lost} of {flow.sent}; {still}")

        await_kernel(lab)
        assert flow.loss < LOSS
