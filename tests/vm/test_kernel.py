"""What depends most on the kernel, in one virtual machine: what every change has to pass.

Scenes, relays, pairs of NATs and killed daemons take an emulated machine long; other files here
have them, for `./test vm`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds; two idle cores needed 645 with 86 of relays, which are elsewhere now
TESTS = (
    "tests/linux/test_tunnels.py",
    "tests/linux/test_stand_ins.py",
    "tests/linux/packets/test_answers.py",
    "tests/linux/packets/test_filter_flows.py",
    "tests/mesh/test_join.py",  # says which WireGuard it must be
    "tests/mesh/test_subnets.py",
    "tests/mesh/test_repair.py",
    "tests/mesh/test_via6.py",
)
CHOSEN = "not test_stand_ins or with_the_header or without_the_header"


def test_what_depends_on_the_kernel_works_on_another_one(tmp_path: Path) -> None:
    outcome = guest.run_tests(
        *TESTS,
        folder=tmp_path,
        seconds=LIMIT,
        chosen=CHOSEN,
        environment="GATEPOST_TEST_WIREGUARD=kernel",
    )

    assert outcome.code == 0, outcome.output[-20000:]
