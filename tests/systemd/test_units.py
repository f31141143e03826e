"""The units: what systemd says of them without running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd" / "system"
# The most exposure (of 10) that each may have.
LIMITS = {
    "gatepostd": 4.0,
    "gatepost-coordination": 2.0,
    "gatepost-derp": 2.0,
    "gatepost-frr": 4.0,
    "gatepost-guard": 2.0,
    "gatepost-web": 2.0,
}


def analyze(*words: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing; it is in the Debian package systemd")
        pytest.skip("systemd-analyze is not installed")
    result = subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=60
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize(("unit", "limit"), LIMITS.items())
def test_a_unit_is_as_closed_as_promised(unit: str, limit: float) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(UNITS / f"{unit}.service"))
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)

    assert found, said
    assert float(found[1]) < limit


def test_every_unit_has_a_limit() -> None:
    assert {path.stem for path in UNITS.iterdir()} == set(LIMITS)


def test_a_path_starts_the_routing_daemon() -> None:
    said = analyze("verify", "--man=no", str(UNITS / "gatepost-frr.path"))

    assert [line for line in said.splitlines() if "is not executable" not in line] == []


@pytest.mark.parametrize("unit", LIMITS)
def test_systemd_understands_every_line(unit: str) -> None:
    said = analyze("verify", "--man=no", str(UNITS / f"{unit}.service"))
    ours = [line for line in said.splitlines() if unit in line]

    # The programs are not installed here; anything else is a mistake in the unit.
    assert [line for line in ours if "is not executable" not in line] == []


def test_killing_the_daemon_spares_wireguard() -> None:
    assert "KillMode=process" in (UNITS / "gatepostd.service").read_text().splitlines()


def test_the_node_is_back_before_official_peers_give_its_path_up() -> None:
    assert "RestartSec=1" in (UNITS / "gatepostd.service").read_text().splitlines()


@pytest.mark.parametrize("unit", ["gatepostd", "gatepost-coordination", "gatepost-derp"])
def test_the_daemons_are_watched(unit: str) -> None:
    lines = (UNITS / f"{unit}.service").read_text().splitlines()

    assert {"Type=notify", "WatchdogSec=30", "Restart=on-failure"} <= set(lines)
