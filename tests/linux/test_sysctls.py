"""Kernel switches, on a folder and on the kernel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.linux.inside import apply, run_inside, settle

from gatepost.linux.sysctls import Sysctls
from gatepost.model.kernel import Sysctl
from gatepost.testing.netns import Machine

FORWARDING = Sysctl("net.ipv4.conf.all.forwarding", "1")


def switches(root: Path, *wanted: Sysctl) -> Sysctls:
    return Sysctls(lambda: [s.name for s in wanted], root)


@pytest.mark.root
def test_a_switch_of_the_kernel_is_set_and_the_second_round_writes_nothing(
    machine: Machine,
) -> None:
    machine.sysctl(net__ipv4__conf__all__forwarding=0)
    run_inside(machine, lambda _: settle(Sysctls(lambda: [FORWARDING.name]), FORWARDING))

    assert machine.run("sysctl", "-n", FORWARDING.name) == "1\n"


def test_a_right_value_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "b"
    file.write_text("4096\t16384\t32768\n")
    file.chmod(0o400)
    wanted = Sysctl("a.b", "4096 16384 32768")

    assert asyncio.run(apply(switches(tmp_path, wanted), wanted)) == ()


def test_what_nobody_wants_any_more_keeps_its_value(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0\n")
    asyncio.run(settle(switches(tmp_path, Sysctl("a", "1")), Sysctl("a", "1")))
    asyncio.run(settle(switches(tmp_path)))

    assert (tmp_path / "a").read_text() == "1\n"


def test_a_slash_stands_for_a_dot_in_a_devices_name(tmp_path: Path) -> None:
    (tmp_path / "eth0.5").write_text("0\n")
    asyncio.run(settle(switches(tmp_path, Sysctl("eth0/5", "1")), Sysctl("eth0/5", "1")))

    assert (tmp_path / "eth0.5").read_text() == "1\n"


def test_a_switch_that_is_not_there_is_named_and_the_others_are_set(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0\n")
    wanted = (Sysctl("nothing.here", "1"), Sysctl("a", "1"))

    with pytest.raises(FileNotFoundError, match=r"nothing\.here = 1: No such file"):
        asyncio.run(apply(switches(tmp_path, *wanted), *wanted))
    assert (tmp_path / "a").read_text() == "1\n"


@pytest.mark.parametrize("name", ["", "a..b", "a.//.b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    wanted = Sysctl(name, "1")

    with pytest.raises(OSError, match="not the name of a kernel switch"):
        asyncio.run(switches(tmp_path, wanted).read())
