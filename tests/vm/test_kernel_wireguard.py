"""The mesh on the kernel's own WireGuard, with the nftables and routes of Debian's kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [guest.BY_HAND, pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(2700)]

LIMIT = 2400.0  # seconds; two cores that did nothing else needed 577
# What depends on the kernel: its WireGuard, and nftables and routes of another version. The
# rest of the mesh tests would only repeat, slowly, what they say outside.
TESTS = (
    "tests/mesh/test_join.py",  # says which WireGuard it must be
    "tests/mesh/test_subnets.py",
    "tests/mesh/test_repair.py",
    "tests/mesh/test_restarts.py",
    "tests/nat/test_matrix.py",
)
# Of the pairs of NATs one of each outcome; all would take an emulated machine hours.
CELLS = (
    "port restricted - port restricted",
    "port restricted - symmetric",
    "symmetric - symmetric, relay",
)


def test_the_mesh_tests_pass_on_kernel_wireguard(tmp_path: Path) -> None:
    outcome = guest.run_tests(
        *TESTS,
        folder=tmp_path,
        seconds=LIMIT,
        chosen="not test_restarts or killed_daemon",
        environment=f"GATEPOST_CELLS='{'; '.join(CELLS)}'",
    )

    assert outcome.code == 0, outcome.output[-20000:]
