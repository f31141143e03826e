"""What machines of a test bed share with the host, and what they must not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.testing.netns import machines
from gatepost.testing.scene_lab import resolve_with

pytestmark = pytest.mark.root


def test_a_machine_reads_the_hosts_etc_and_cannot_write_it() -> None:
    with machines() as owner:
        (machine,) = owner.add("m")
        read = machine.run("cat", "/etc/services")
        may_write = machine.attempt("test", "-w", "/etc").returncode == 0
        may_rewrite = machine.attempt("test", "-w", "/etc/services").returncode == 0

    assert read == Path("/etc/services").read_text()
    assert (may_write, may_rewrite) == (False, False)


def test_whom_a_machine_asks_is_no_business_of_the_host(tmp_path: Path) -> None:
    before = Path("/etc/resolv.conf").read_bytes()
    with machines() as owner:
        (machine,) = owner.add("m")
        resolve_with(machine, "192.0.2.53", tmp_path)
        asked = machine.run("cat", "/etc/resolv.conf")
        machine.run("umount", "/etc/resolv.conf")
        may_rewrite = machine.attempt("test", "-w", "/etc/resolv.conf").returncode == 0

    assert asked.startswith("nameserver 192.0.2.53\n")
    assert not may_rewrite
    assert Path("/etc/resolv.conf").read_bytes() == before
