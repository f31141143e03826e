"""An official client, unmodified, in a mesh of ours. Skipped where there is none.

GATEPOST_OFFICIAL=/opt/tailscale ./test -k official_client
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.interop.official_client import OfficialClient, why_not

from gatepost.model.admin import UserRequest
from gatepost.model.policy import CanRequest, PolicyRequest
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import USER, Lab, ground
from gatepost.testing.nat_lab import mesh_v4
from gatepost.testing.nat_stream import start_stream
from gatepost.testing.netns import patient
from gatepost.testing.scene_lab import Kind, answer, ask, ping
from gatepost.testing.topology import Nat

pytestmark = [
    pytest.mark.root,
    pytest.mark.mesh,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

STOP = 1.0  # seconds in which a flow ends whose rule is removed
SETTLING = 10.0  # seconds
KINDS: tuple[Kind, ...] = ("tcp", "udp", "icmp")
OPEN: dict[str, object] = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
CLOSED: dict[str, object] = {"acls": []}
POLICIES: dict[str, dict[str, object]] = {
    "open": OPEN,
    "closed": CLOSED,
    "one way": {"acls": [{"action": "accept", "src": ["official"], "dst": ["box:8000"]}]},
    "another port": {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:9"]}]},
}


@dataclass(frozen=True, slots=True)
class Pair:
    lab: Lab
    box: Box
    client: OfficialClient

    def set_policy(self, document: dict[str, object]) -> None:
        hosts = {"official": self.client.mesh_v4, "box": mesh_v4(self.box)}
        text = json.dumps({**document, "hosts": hosts})
        self.lab.coordination.client.set_policy(PolicyRequest(text=text))

    def is_open(self, kind: Kind, *, outward: bool) -> bool:
        """Try, from the client to the box or back."""
        ends = (self.client.machine, mesh_v4(self.box))
        if not outward:
            ends = (self.box.site.box, self.client.mesh_v4)
        return ask(ends[0], kind, ends[1]) in {"box", "official", "answered"}

    def may(self, kind: Kind, *, outward: bool) -> bool:
        """Ask the server."""
        source, destination = ("official", "box") if outward else ("box", "official")
        port = 0 if kind == "icmp" else 8000
        request = CanRequest(source=source, destination=destination, port=port, protocol=kind)
        return self.lab.coordination.client.can(request).allowed


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Have a client and a box, both behind home routers."""
    nats = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED, "c": Nat.PORT_RESTRICTED}
    with ground(nats) as lab:
        lab.coordination.program.start()
        box, machine = lab.boxes["b"], lab.boxes["c"].site.box
        box.daemon.start()
        lab.coordination.await_answer()
        lab.coordination.client.create_user(UserRequest(name=USER))
        box.await_answer()
        lab.join("b", masquerade=True)
        client = OfficialClient(machine, "official", lab.directory / "official")
        client.start()
        client.up(lab.coordination.url, lab.key())
        answer(machine, "official", client.mesh_v4)
        answer(box.site.box, "box", mesh_v4(box))
        yield Pair(lab, box, client)


def test_an_official_client_runs_and_talks_both_ways_at_once(pair: Pair) -> None:
    flow = start_stream(pair.client.machine, mesh_v4(pair.box), 2.0).finish()

    assert pair.client.standing().backend_state == "Running"
    assert flow.lost == 0
    assert ping(pair.box.site.box, pair.client.mesh_v4)


def test_an_official_client_finds_the_direct_path(pair: Pair) -> None:
    stream = start_stream(pair.client.machine, mesh_v4(pair.box), patient(SETTLING))
    found = wait_for(
        lambda: pair.client.address_of(pair.box) or None,
        seconds=SETTLING,
        otherwise=lambda: f"no direct path:\n{pair.client.log()}",
    )
    stream.end()

    site = pair.box.site
    assert found.startswith((f"{site.public_v4}:", f"[{site.public_v6}]:"))


def test_an_official_client_reaches_the_lan_of_a_box(pair: Pair) -> None:
    assert ping(pair.client.machine, str(pair.box.site.host_v4))
    assert ping(pair.client.machine, str(pair.box.site.host_v6))


@pytest.mark.parametrize("name", POLICIES)
def test_an_official_client_and_a_box_let_in_what_the_policy_says(pair: Pair, name: str) -> None:
    pair.set_policy(POLICIES[name])
    time.sleep(patient(STOP))
    asked: list[tuple[Kind, bool]] = [
        (kind, outward) for kind in KINDS for outward in (True, False)
    ]
    found = {(kind, out): pair.is_open(kind, outward=out) for kind, out in asked}

    assert found == {(kind, out): pair.may(kind, outward=out) for kind, out in asked}


@pytest.mark.parametrize("outward", [True, False])
def test_a_flow_stops_with_its_rule(pair: Pair, outward: bool) -> None:
    pair.set_policy(OPEN)
    machine, to = pair.client.machine, mesh_v4(pair.box)
    if not outward:
        machine, to = pair.box.site.box, pair.client.mesh_v4
    wait_for(lambda: ping(machine, to) or None, seconds=SETTLING, otherwise=pair.client.log)
    stream = start_stream(machine, to, 60.0)
    time.sleep(1.0)
    pair.set_policy(CLOSED)
    time.sleep(patient(STOP))
    ended = stream.end()

    assert ended.answered
    last = ended.answered[-1][1]
    assert last - ended.began < 1.0 + patient(STOP)
