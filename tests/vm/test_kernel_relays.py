"""Peer relays with kernel WireGuard on the kernel of Debian: its verifier and its offloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest
from tests.vm.kernel import fetch

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds; an idle machine of 2 cores needs a fraction
PATIENCE = 6  # times as long as outside, for everything that is waited for
# What depends on the kernel; the rest would only repeat, slowly, what they say outside.
TESTS = "tests/linux/test_stand_ins.py tests/mesh/test_relays.py"
CHOSEN = "with_the_header or without_the_header or test_relays"


def test_relays_carry_for_kernel_wireguard(tmp_path: Path) -> None:
    options = f"-q -s -p no:cacheprovider --color=no --durations=5 -k '{CHOSEN}'"
    command = (
        f"modprobe wireguard && "
        f"GATEPOST_PATIENCE={PATIENCE} .venv/bin/python -m pytest {options} {TESTS}"
    )
    outcome = guest.run(fetch(), command, tmp_path, seconds=LIMIT)
    print(outcome.output[-2000:])

    assert outcome.code == 0, outcome.output[-20000:]
