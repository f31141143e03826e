"""Exits and providers on the kernel's own WireGuard, with the nftables of Debian's kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest
from tests.vm.kernel import fetch

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds; an idle machine of 2 cores needs a fraction
PATIENCE = 6  # times as long as outside, for everything that is waited for
TESTS = "tests/linux/test_tunnels.py tests/scenes/test_scenes.py"
CHOSEN = "test_tunnels or (exit and holds)"


def test_exits_stay_closed_on_kernel_wireguard(tmp_path: Path) -> None:
    options = f"-q -s -p no:cacheprovider --color=no --timeout=900 --durations=5 -k '{CHOSEN}'"
    command = (
        f"modprobe wireguard && GATEPOST_PATIENCE={PATIENCE} "
        f"GATEPOST_TEST_WIREGUARD=kernel .venv/bin/python -m pytest {options} {TESTS}"
    )
    outcome = guest.run(fetch(), command, tmp_path, seconds=LIMIT)
    print(outcome.output[-2000:])

    assert outcome.code == 0, outcome.output[-20000:]
