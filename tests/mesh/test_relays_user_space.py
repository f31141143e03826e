"""Relays on machines whose kernel takes no programs from us."""

from __future__ import annotations

import pytest
from tests.mesh.relay_lab import await_path, has_stand_in, relay_lab

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat_lab import mesh_v4
from gatepost.testing.nat_stream import start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(600)]

SETTLING = 20.0  # seconds
LOSS = 0.02  # of a stream from its first packet on


def forbid_programs(lab: Lab) -> None:
    """Let two daemons do everything but load programs into the kernel."""
    for name in ("one", "two"):
        lab.boxes[name].daemon.starter = ("setpriv", "--bounding-set", "-bpf,-sys_admin")


def test_without_programs_the_daemon_carries_and_says_so() -> None:
    with relay_lab(prepare=forbid_programs) as lab:
        one, two = lab.boxes["one"], lab.boxes["two"]
        stream = start_stream(one.site.box, mesh_v4(two), patient(SETTLING))
        await_path(lab, "relay")
        one.await_status(
            lambda s: any(n.code == "relay-without-kernel" for n in s.notices), "notice"
        )
        await_path(lab, "relay")
        flow = stream.finish()
        print(f"first {flow.first} s, lost {flow.lost} of {flow.sent}")

        assert flow.loss < LOSS
        assert not has_stand_in(one)
        assert not any(n.level == "error" for n in one.client.status().notices)
