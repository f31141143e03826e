"""Exits and providers on the kernel's own WireGuard, with the nftables of Debian's kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [guest.BY_HAND, pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds; an idle machine of 2 cores needs a fraction
TESTS = ("tests/linux/test_tunnels.py", "tests/scenes/test_scenes.py")
CHOSEN = "test_tunnels or (exit and holds)"


def test_exits_stay_closed_on_kernel_wireguard(tmp_path: Path) -> None:
    outcome = guest.run_tests(
        *TESTS,
        folder=tmp_path,
        seconds=LIMIT,
        chosen=CHOSEN,
        environment="GATEPOST_TEST_WIREGUARD=kernel",
    )

    assert outcome.code == 0, outcome.output[-20000:]
