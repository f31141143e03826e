"""The scenes that no other file here has, on the kernel's own WireGuard."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.vm import guest

pytestmark = [guest.BY_HAND, pytest.mark.root, pytest.mark.vm, pytest.mark.timeout(1800)]

LIMIT = 1500.0  # seconds, as exits have


@pytest.mark.parametrize("name", ["app-connector", "ha", "site-to-site"])
def test_a_scene_holds_on_kernel_wireguard(name: str, tmp_path: Path) -> None:
    test = f"tests/scenes/test_scenes.py::test_every_row_of_a_scene_holds[{name}]"

    outcome = guest.run_tests(test, folder=tmp_path, seconds=LIMIT)

    assert outcome.code == 0, outcome.output[-20000:]
