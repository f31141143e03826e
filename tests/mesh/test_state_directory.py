"""The state directory: one owner, and no harm from a full disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatepost.model.admin import NodeRequest
from gatepost.testing.lab_boxes import PROGRAMS, Box
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.lab_proof import await_pairs
from gatepost.testing.topology import Nat

pytestmark = [pytest.mark.root, pytest.mark.mesh]

DISK = "1m"


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Lab]:
    """Two sites; the state of box b is on a disk of its own, of one megabyte."""
    with ground({"a": Nat.NONE, "b": Nat.NONE}) as lab:
        state = lab.boxes["b"].directory / "state"
        state.mkdir(mode=0o700)
        lab.boxes["b"].site.box.run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "t", str(state))
        start(lab)
        lab.join(lab.boxes)
        lab.await_mesh()
        await_pairs(lab.sites)
        yield lab


def fill(box: Box) -> None:
    state = box.directory / "state"
    box.site.box.attempt("dd", "if=/dev/zero", f"of={state}/filler", "bs=4k")
    assert box.site.box.attempt("cp", "/etc/services", f"{state}/x").returncode != 0


def test_a_second_daemon_is_refused(small_disk: Lab) -> None:
    box = small_disk.boxes["a"]
    arguments = (*box.daemon.arguments, "--socket", str(box.directory / "second.sock"))
    second = box.site.box.attempt(str(PROGRAMS / "gatepostd"), *arguments)

    assert second.returncode != 0
    assert str(box.directory / "state") in second.stderr + second.stdout
    assert box.client.status().state == "Running"


def test_a_second_daemon_on_the_socket_touches_nothing_of_the_first(small_disk: Lab) -> None:
    box = small_disk.boxes["a"]
    state = box.directory / "second"
    names = (box.directory / "etc" / "resolv.conf").read_text()
    arguments = (*box.daemon.arguments, "--state-directory", str(state))
    second = box.site.box.attempt(str(PROGRAMS / "gatepostd"), *arguments)

    assert second.returncode == 1
    assert "another process answers" in second.stderr
    assert not state.exists()
    assert (box.directory / "etc" / "resolv.conf").read_text() == names
    assert "HostResolver: removing" not in box.daemon.log.read_text()


def test_a_daemon_without_its_capabilities_says_what_it_needs(small_disk: Lab) -> None:
    box = small_disk.boxes["a"]
    places = ("state-directory", "socket", "settings", "etc")
    own = [w for p in places for w in (f"--{p}", str(box.directory / "weak" / p))]
    (box.directory / "weak" / "etc").mkdir(parents=True)
    weak = ("setpriv", "--bounding-set", "-net_admin")
    refused = box.site.box.attempt(*weak, str(PROGRAMS / "gatepostd"), *own)

    assert refused.returncode == 1
    assert "it needs root" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_full_disk_stops_no_traffic_and_costs_no_state(small_disk: Lab) -> None:
    box = small_disk.boxes["b"]
    node = box.client.status().node
    fill(box)
    other = next(n for n in small_disk.coordination.client.nodes() if n.name == "box-a")
    small_disk.coordination.client.change_node(str(other.id), NodeRequest(approved_routes=()))
    box.await_status(
        lambda s: any(notice.code == "state-not-saved" for notice in s.notices), "notice"
    )
    small_disk.approve(small_disk.boxes["a"])
    await_pairs(small_disk.sites)
    box.daemon.signal("KILL")
    box.daemon.start()
    box.await_answer()
    again = box.await_status(lambda s: s.state == "Running" and s.control_connected, "connection")

    assert again.node is not None
    assert node is not None
    assert again.node.key == node.key
    await_pairs(small_disk.sites)
