"""What a service without CAP_SYS_ADMIN can do with programs and their maps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gatepost.linux.bpf_pins import why_unfindable
from gatepost.testing.netns import LabError, Machine

pytestmark = pytest.mark.root

ROOT = Path(__file__).parent.parent.parent
RIGHTS = "-all,+bpf,+perfmon,+net_admin,+net_raw,+net_bind_service"  # those of gatepostd.service


def as_service(box: Machine, what: str) -> str:
    return box.run(
        *("setpriv", "--bounding-set", RIGHTS, "--inh-caps", RIGHTS, "--"),
        *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.linux.few_rights", what),
    )


@pytest.fixture
def box(machine: Machine) -> Machine:
    machine.ip("link add wan0 type veth peer name wan1", "link set wan0 up", "link set wan1 up")
    return machine


def test_the_verifier_takes_every_program_from_the_service(box: Machine) -> None:
    """It is stricter with those who have no CAP_PERFMON, and more so in older kernels."""
    said = as_service(box, "load")

    assert {"peer_relay ethernet", "relay_client wrap"} <= set(said.splitlines())


def test_a_service_finds_its_maps_again_after_a_restart(box: Machine) -> None:
    box.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    first = as_service(box, "attach").split("\n")[0]
    again = as_service(box, "attach").split("\n")[0]

    assert first.startswith("by pin [")
    assert first.endswith("] False")
    assert again == first.replace("False", "True")


def test_pins_go_with_the_last_program(box: Machine) -> None:
    box.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    as_service(box, "attach")
    assert "sessions4" in box.run("ls", "/sys/fs/bpf/gatepost/peer_relay")
    as_service(box, "detach")

    assert box.run("ls", "/sys/fs/bpf/gatepost") == ""


def test_pins_that_somebody_removed_are_made_again(box: Machine) -> None:
    box.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    as_service(box, "attach")
    box.run("rm", "-r", "/sys/fs/bpf/gatepost")

    assert as_service(box, "attach").endswith("] False\n")


def test_without_its_pins_a_stand_in_is_broken_and_nothing_else(box: Machine) -> None:
    box.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    box.ip("address add 10.9.0.2/24 dev wan0")

    assert as_service(box, "stand-in") == "True False False\n"


def test_without_a_place_for_pins_the_reason_is_told(box: Machine) -> None:
    with pytest.raises(LabError, match="no BPF file system at /sys/fs/bpf"):
        as_service(box, "attach")


def test_whoever_may_ask_the_kernel_needs_no_pins() -> None:
    assert why_unfindable(Path("/nonexistent")) == ""
