"""A running stream does not notice that its boxes change between a relay and the direct path.

The direct path carries packets all the time; only the answers that prove it are
kept from the boxes. So no packet is lost but by a change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import mesh_v4, nat_lab, offer_relay, path_to
from gatepost.testing.nat_stream import Flow, start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(300)]

LOSS = 0.01  # of a stream's packets at one change
CHANGE = 60.0  # seconds to a change: a relay is sought each half minute
SETTLED = 3.0  # seconds that a stream goes on after it
_PONG = 8 + 110  # octets of UDP header and packet, outside of a relay


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with nat_lab({"one": Nat.NONE, "two": Nat.NONE}) as running:
        offer_relay(running)
        yield running


def deafen(lab: Lab) -> None:
    """Keep the answers to pings from both boxes where no relay brings them."""
    for name in ("one", "two"):
        lab.boxes[name].site.box.nft(
            "table inet deaf { chain c { type filter hook prerouting priority -400;"
            f" udp length {_PONG} drop; }}; }}"
        )


def heal(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.boxes[name].site.box.run("nft", "delete", "table", "inet", "deaf")


def change(lab: Lab, event: Callable[[Lab], None], path: str) -> Flow:
    """Let a stream run over an event until both boxes have used the new path for a while."""
    one, two = lab.boxes["one"], lab.boxes["two"]
    stream = start_stream(one.site.box, mesh_v4(two), patient(CHANGE + 20))
    time.sleep(0.5)
    event(lab)
    for box, far in ((one, two), (two, one)):
        box.await_status(lambda s, far=far: path_to(s, far.name)[0] == path, path, CHANGE)  # type: ignore[misc]  # mypy infers no type for a default
    time.sleep(SETTLED)
    flow = stream.end()
    print(f"to {path}: lost {flow.lost} of {flow.sent}")
    return flow


def test_changes_between_a_relay_and_the_direct_path_lose_nothing_to_speak_of(lab: Lab) -> None:
    deafen(lab)
    start = change(lab, lambda _: None, "relay")
    flows = [change(lab, heal, "direct"), change(lab, deafen, "relay"), change(lab, heal, "direct")]

    assert start.first is not None
    assert all(flow.sent > 100 for flow in flows)
    assert max(flow.loss for flow in flows) < LOSS
