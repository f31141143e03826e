"""What a real box must do; see README.md for how to name it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest

BOX = os.environ.get("GATEPOST_BOX", "")
MAY_REBOOT = os.environ.get("GATEPOST_BOX_REBOOT") == "yes"
REBOOT_TIMEOUT = 300.0  # seconds

pytestmark = [
    pytest.mark.skipif(not BOX, reason="GATEPOST_BOX names no box to test"),
    pytest.mark.timeout(REBOOT_TIMEOUT + 60),
]


def ssh(*command: str) -> subprocess.CompletedProcess[str]:
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
    return subprocess.run(
        ("ssh", *options, BOX, *command), capture_output=True, text=True, check=False, timeout=30
    )


def status() -> dict[str, Any]:  # a document of another machine, perhaps of another version
    answer = ssh("gatepost", "status", "--json")
    assert answer.returncode == 0, answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def test_the_node_runs_on_the_kernels_wireguard() -> None:
    document = status()

    assert document["state"] == "Running"
    assert document["wireguard"]["backend"] == "kernel"


def test_nothing_is_to_be_changed() -> None:
    assert json.loads(ssh("gatepost", "plan", "--json").stdout) == []


def test_a_peer_answers() -> None:
    online = [peer["name"] for peer in status().get("peers", []) if peer.get("online")]
    if not online:
        pytest.skip("no peer of the box is online")

    assert ssh("gatepost", "ping", online[0]).returncode == 0


def test_a_peer_that_is_not_reached_directly_has_a_reason() -> None:
    online = [peer["name"] for peer in status().get("peers", []) if peer.get("online")]
    if not online:
        pytest.skip("no peer of the box is online")
    for name in online:
        answer = ssh("gatepost", "why", name, "--json", "--timeout", "5s")
        document = json.loads(answer.stdout)

        assert answer.returncode == 0, document
        assert document["path"] == "direct" or document.get("findings"), document


@pytest.mark.skipif(not MAY_REBOOT, reason="GATEPOST_BOX_REBOOT=yes does not allow a reboot")
def test_a_reboot_brings_the_network_back() -> None:
    boot = "/proc/sys/kernel/random/boot_id"
    before = ssh("cat", boot).stdout
    ssh("systemctl", "reboot")
    deadline = time.monotonic() + REBOOT_TIMEOUT
    while ssh("cat", boot).stdout in {"", before}:
        assert time.monotonic() < deadline, "the box did not come back"
        time.sleep(5)
    while ssh("gatepost", "status").returncode:
        assert time.monotonic() < deadline, "the node does not run after the reboot"
        time.sleep(1)

    assert status()["state"] == "Running"
