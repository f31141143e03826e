"""A box that relays for others, and is reached by its own relay only."""

from __future__ import annotations

import pytest
from tests.mesh.relay_lab import SETTLING, has_stand_in, relay_lab

from gatepost.model.owned import WIREGUARD_PORT
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat_lab import HUB, mesh_v4, path_to
from gatepost.testing.nat_stream import start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(600)]

LOSS = 0.02  # of a stream from its first packet on


def close_the_port(lab: Lab) -> None:
    """Let nothing through to or from the hub's own WireGuard."""
    hub = lab.boxes[HUB].site.public_v4
    lab.topology.internet.nft(
        "table inet cut { chain carry { type filter hook forward priority 0;"
        f" ip daddr {hub} udp dport {WIREGUARD_PORT} drop;"
        f" ip saddr {hub} udp sport {WIREGUARD_PORT} drop; }}; }}"
    )


def test_a_relay_relays_for_itself() -> None:
    with relay_lab(prepare=close_the_port) as lab:
        one, hub = lab.boxes["one"], lab.boxes[HUB]
        stream = start_stream(one.site.box, mesh_v4(hub), patient(SETTLING))
        one.await_status(lambda s: path_to(s, hub.name)[0] == "relay", "relay", SETTLING)
        hub.await_status(lambda s: path_to(s, one.name)[0] == "relay", "relay", SETTLING)
        flow = stream.finish()
        print(f"first {flow.first} s, lost {flow.lost} of {flow.sent}")

        assert flow.loss < LOSS
        assert has_stand_in(one)
        assert not has_stand_in(hub)  # the way to itself has no device to wrap on
