"""A large package costs what is used of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gatepost.linux.package_parts import parts_of


def run_fresh(code: str) -> str:
    """Run code in an interpreter that has imported nothing yet; return what it prints."""
    command = (sys.executable, "-c", code)
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


def test_the_netlink_module_loads_no_more_of_pyroute2_than_messages() -> None:
    loaded = run_fresh(
        "import sys, gatepost.linux.netlink;"
        "print(*sorted(m for m in sys.modules if m.startswith('pyroute2')))"
    ).split()

    assert "pyroute2.netlink.rtnl.rtmsg" in loaded
    assert "pyroute2" not in loaded
    assert not [m for m in loaded if m.startswith(("pyroute2.ndb", "pyroute2.iproute"))]


def test_the_whole_package_can_be_imported_later_with_the_same_messages() -> None:
    assert run_fresh(
        "import sys, gatepost.linux.netlink as ours;"
        "from pyroute2 import IPRoute;"
        "from pyroute2.netlink.rtnl.rtmsg import rtmsg;"
        "print(IPRoute.__name__, rtmsg is ours.rtmsg)"
    ) == ("IPRoute True")


def test_a_package_that_is_loaded_is_left_alone() -> None:
    with parts_of("json"):
        import json  # noqa: PLC0415  # inside the block is the point

    assert sys.modules["json"] is json
    assert json.loads("1") == 1


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), parts_of("no_such_package"):
        raise AssertionError("the block must not run")
