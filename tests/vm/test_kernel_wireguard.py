"""The mesh on the kernel's own WireGuard, with the nftables and routes of Debian's kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.vm import guest
from tests.vm.kernel import Kernel, fetch

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

BOOT_AND_LAB = 600.0  # seconds; emulated, so a slow host takes long
MESH_TESTS = 1500.0
# What depends on the kernel: its WireGuard, and nftables and routes of another version.
# The rest of the mesh tests would only repeat, slowly, what they say outside.
TESTS = (
    "tests/mesh/test_join.py",
    "tests/mesh/test_subnets.py",
    "tests/mesh/test_repair.py",
    "tests/mesh/test_restarts.py",
)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return fetch()


def test_the_lab_works_on_kernel_wireguard(kernel: Kernel, tmp_path: Path) -> None:
    command = "GATEPOST_PATIENCE=8 .venv/bin/python -m gatepost.testing.lab --once --json 2>&1"
    outcome = guest.run(kernel, command, tmp_path, seconds=BOOT_AND_LAB)
    assert outcome.code == 0, outcome.output[-5000:]
    start, end = outcome.output.index("\n{"), outcome.output.rindex("}")
    document = json.loads(outcome.output[start : end + 1])

    assert document["works"] is True
    assert set(document["wireguard"].values()) == {"kernel"}
    assert document["versions"]["kernel"] == kernel.version


def test_the_mesh_tests_pass_on_kernel_wireguard(kernel: Kernel, tmp_path: Path) -> None:
    options = "-q -p no:cacheprovider --color=no --timeout=600 --durations=5"
    command = f"GATEPOST_PATIENCE=8 .venv/bin/python -m pytest {options} {' '.join(TESTS)}"
    outcome = guest.run(kernel, command, tmp_path, seconds=MESH_TESTS)
    print(outcome.output[-3000:])

    assert outcome.code == 0, outcome.output[-20000:]
