"""Traffic goes on when a router forgets, is moved, or lets nothing through any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import (
    HUB,
    cut_direct,
    forget,
    mesh_v4,
    nat_lab,
    path_to,
    renumber,
    restore,
)
from gatepost.testing.nat_stream import Flow, now, start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(300)]

RECOVERY = 10.0  # seconds
SETTLING = 20.0  # seconds to a direct path where there is one
UNDISTURBED = 1.0  # seconds of a stream before something happens to it
NATS = {"one": Nat.PORT_RESTRICTED, "two": Nat.PORT_RESTRICTED}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with nat_lab(NATS) as running:
        yield running


def await_path(lab: Lab, path: str, seconds: float = SETTLING) -> float:
    """Wait until both boxes use that kind of path, and return the seconds it took."""
    began = time.monotonic()
    one, two = lab.boxes["one"], lab.boxes["two"]
    for box, far in ((one, two), (two, one)):
        box.await_status(lambda s, far=far: path_to(s, far.name)[0] == path, path, seconds)  # type: ignore[misc]  # mypy infers no type for a default
    return time.monotonic() - began


def disturb(lab: Lab, event: Callable[[], object], path: str) -> tuple[Flow, float]:
    """Let something happen to a stream on a direct path; return it and the moment.

    It ends when both boxes use `path` again, or 10 seconds after the event.
    """
    one, address = lab.boxes["one"].site.box, mesh_v4(lab.boxes["two"])
    warming = start_stream(one, address, patient(SETTLING))
    await_path(lab, "direct")
    warming.end()
    stream = start_stream(one, address, patient(UNDISTURBED + RECOVERY))
    time.sleep(UNDISTURBED)
    event()
    at = now()
    flow = stream.finish()
    await_path(lab, path, 1.0)
    return flow, at


def test_a_cut_direct_path_is_left_and_found_again(lab: Lab) -> None:
    one, hub = lab.topology.site("one"), lab.topology.site(HUB)
    flow, at = disturb(lab, lambda: cut_direct(one, [hub]), "derp")
    print(f"cut: silent for {flow.silence(at):.1f} s, lost {flow.lost} of {flow.sent}")
    restore(one)

    assert flow.silence(at) < patient(RECOVERY)
    stream = start_stream(lab.boxes["one"].site.box, mesh_v4(lab.boxes["two"]), SETTLING)
    print(f"direct again after {await_path(lab, 'direct'):.1f} s")
    stream.end()


def test_a_router_that_forgets_its_mappings_stops_nothing_for_long(lab: Lab) -> None:
    flow, at = disturb(lab, lambda: forget(lab.topology.site("one"), seed=21), "direct")
    print(f"forgotten: silent for {flow.silence(at):.1f} s, lost {flow.lost} of {flow.sent}")

    assert flow.silence(at) < patient(RECOVERY)


def test_another_public_address_stops_nothing_for_long(lab: Lab) -> None:
    flow, at = disturb(lab, lambda: renumber(lab.topology, lab.topology.site("two")), "direct")
    print(f"renumbered: silent for {flow.silence(at):.1f} s, lost {flow.lost} of {flow.sent}")

    assert flow.silence(at) < patient(RECOVERY)
