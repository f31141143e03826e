"""4via6 and aliases on the kernel's own WireGuard: the verifier and nftables of Debian's kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [guest.BY_HAND, pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(2700)]

LIMIT = 2400.0  # seconds
TESTS = (
    "tests/mesh/test_via6.py",
    "tests/mesh/test_alias.py",
    "tests/scenes/test_scenes.py::test_every_row_of_a_scene_holds[overlap]",
)


def test_overlapping_sites_reach_each_other_on_kernel_wireguard(tmp_path: Path) -> None:
    outcome = guest.run_tests(*TESTS, folder=tmp_path, seconds=LIMIT)

    assert outcome.code == 0, outcome.output[-20000:]
