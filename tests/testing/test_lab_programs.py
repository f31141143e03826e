"""What a lab and its scenes run is installed by `./run` and `./test`, and looked for before."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gatepost.testing import lab

ROOT = Path(__file__).parents[2]
HERE = ROOT / "core/gatepost/testing"
PACKAGES = {
    "bind9-dnsutils": {"dig"},
    "curl": {"curl"},
    "iperf3": {"iperf3"},
    "iproute2": {"ip", "ss"},
    "iputils-ping": {"ping"},
    "nftables": {"nft"},
    "procps": {"pgrep", "pkill", "sysctl"},
    "util-linux": {"nsenter", "setpriv", "unshare"},
    "wireguard-tools": {"wg"},
}
ALWAYS = {"bash", "cat", "mount"}  # on every Debian
AT_TIMES = {"wireguard-go"}  # where the kernel has no WireGuard
SCENES = ("lab*.py", "scene*.py", "scenes/*.py", "app_internet.py", "exit_flaps.py", "netns.py")
VERBS = {"attempt", "run", "start"}


def started(path: Path) -> Iterator[str]:
    """Yield the programs that a module starts by a name that stands there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Starred) and isinstance(first.value, ast.Tuple):
                first = first.value.elts[0]
            if node.func.attr not in VERBS or not isinstance(first, ast.Constant):
                continue
            if isinstance(first.value, str):
                yield first.value


def installed(script: str, pattern: str) -> set[str]:
    found = re.findall(pattern, (ROOT / script).read_text(), re.MULTILINE)
    return {word for line in found for word in line.split()}


def test_what_a_scene_starts_is_looked_for_before_it_is_built() -> None:
    names = {n for p in SCENES for path in HERE.glob(p) for n in started(path)}

    assert "curl" in names
    assert {n for n in names if "/" not in n} - ALWAYS - AT_TIMES <= set(lab.NEEDED)


def test_what_is_looked_for_is_installed() -> None:
    by_run = installed("run", r"^need_packages (.+)$")
    by_test = installed("test", r"^(?:base|mesh)=\((.+)\)")

    assert set(lab.NEEDED) == set().union(*PACKAGES.values())
    assert set(PACKAGES) <= by_run <= by_test
