"""A machine at one site is woken from another, if the policy says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from gatepost.errors import RefusedError
from gatepost.model.policy import PolicyRequest
from gatepost.model.wake import WakeRequestDocument
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import turn_on
from gatepost.wire.wake_on_lan import CAPABILITY, PORT, read_magic

pytestmark = [pytest.mark.root, pytest.mark.mesh]

NAS = "00:11:22:33:44:55"
OPEN = {"action": "accept", "src": ["*"], "dst": ["*:*"]}
HEAR = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearing:
    hearing.bind(("", {port}))
    print("up", flush=True)
    while True:
        print(hearing.recv(200).hex(), flush=True)
"""


def hear(machine: Machine) -> subprocess.Popen[str]:
    command = ("/usr/bin/python3", "-c", HEAR.format(port=PORT))
    process = machine.start(*command, output=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture(scope="module")
def site_b(lab: Lab) -> Iterator[Lab]:
    """Let box b wake machines of its LAN, and forbid it to everybody at first."""
    turn_on(lab.boxes["b"], "wake-on-lan", machines=[f"nas={NAS}"], links=["lan0"])
    yield lab
    lab.coordination.client.set_policy(PolicyRequest(text=json.dumps({"acls": [OPEN]})))


def wake(lab: Lab, target: str) -> str:
    request = WakeRequestDocument(target=target, site="box-b")
    return lab.boxes["a"].client.wake(request).mac


def try_wake(lab: Lab, target: str) -> str | None:
    try:
        return wake(lab, target)
    except RefusedError:
        return None


def test_without_a_grant_nobody_is_woken(site_b: Lab) -> None:
    def refused() -> str | None:
        with pytest.raises(RefusedError) as caught:
            wake(site_b, "nas")
        return str(caught.value) if CAPABILITY in str(caught.value) else None

    wait_for(refused, seconds=20, otherwise=lambda: "the box does not say what is missing")


def test_with_one_the_lan_of_the_other_site_hears_the_packet(site_b: Lab) -> None:
    hearing = hear(site_b.topology.site("b").host)
    grant: dict[str, object] = {"src": ["*"], "dst": ["*"], "app": {CAPABILITY: [{}]}}
    text = json.dumps({"acls": [OPEN], "grants": [grant]})
    site_b.coordination.client.set_policy(PolicyRequest(text=text))

    woken = wait_for(
        lambda: try_wake(site_b, "nas"), seconds=20, otherwise=lambda: "the grant does not arrive"
    )
    assert woken == NAS
    assert hearing.stdout
    assert read_magic(bytes.fromhex(hearing.stdout.readline())) == bytes.fromhex("001122334455")


def test_a_site_without_the_plugin_says_so(site_b: Lab) -> None:
    request = WakeRequestDocument(target=NAS, site="box-c")

    with pytest.raises(RefusedError, match="wakes nobody"):
        site_b.boxes["a"].client.wake(request)
