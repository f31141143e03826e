"""Peer relays with kernel WireGuard on the kernel of Debian: its verifier and its offloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [guest.BY_HAND, pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds; an idle machine of 2 cores needs a fraction
# What depends on the kernel; the rest would only repeat, slowly, what they say outside.
TESTS = ("tests/linux/test_stand_ins.py", "tests/mesh/test_relays.py")
CHOSEN = "with_the_header or without_the_header or test_relays"


def test_relays_carry_for_kernel_wireguard(tmp_path: Path) -> None:
    outcome = guest.run_tests(*TESTS, folder=tmp_path, seconds=LIMIT, chosen=CHOSEN)

    assert outcome.code == 0, outcome.output[-20000:]
