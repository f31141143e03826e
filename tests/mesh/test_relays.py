"""Two boxes that cannot reach each other directly, and a third one that relays for them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.mesh.relay_lab import SETTLING, await_kernel, await_path, relay_lab

from gatepost.model.owned import PEER_RELAY_PORT
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat_lab import carry_ipv6, mesh_v4
from gatepost.testing.nat_stream import now, start_stream
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(900)]

RECOVERY = 10.0  # seconds
LOSS = 0.01  # of a stream while its path changes


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with relay_lab() as running:
        yield running


def test_two_behind_symmetric_nats_talk_through_the_relay_in_the_kernel(lab: Lab) -> None:
    one, two = lab.boxes["one"], lab.boxes["two"]
    stream = start_stream(one.site.box, mesh_v4(two), patient(SETTLING))
    await_path(lab, "relay")
    await_kernel(lab)
    time.sleep(patient(4.0))
    flow = stream.end()
    print(f"first {flow.first} s, lost {flow.lost} of {flow.sent}")

    assert flow.loss < LOSS


def test_a_relay_that_dies_is_left_for_derp_within_seconds(lab: Lab) -> None:
    one, two, internet = lab.boxes["one"], lab.boxes["two"], lab.topology.internet
    warming = start_stream(one.site.box, mesh_v4(two), patient(SETTLING))
    await_kernel(lab)
    warming.end()
    stream = start_stream(one.site.box, mesh_v4(two), patient(1.0 + RECOVERY + 5))
    time.sleep(1.0)
    internet.nft(
        "table inet dead { chain carry { type filter hook forward priority 0;"
        f" udp dport {PEER_RELAY_PORT} drop; }}; }}"
    )
    at = now()
    await_path(lab, "derp", RECOVERY)
    flow = stream.finish()
    internet.run("nft", "delete", "table", "inet", "dead")
    print(f"silent for {flow.silence(at):.1f} s")

    assert flow.silence(at) < patient(RECOVERY)


def test_a_killed_daemon_does_not_end_what_goes_through_the_relay(lab: Lab) -> None:
    one, two = lab.boxes["one"], lab.boxes["two"]
    stream = start_stream(one.site.box, mesh_v4(two), patient(60.0))
    await_path(lab, "relay")
    await_kernel(lab)
    one.daemon.signal("KILL")
    time.sleep(8.0)  # longer than a path without pongs is believed
    one.daemon.start()
    one.await_answer()
    time.sleep(patient(3.0))
    flow = stream.end()
    print(f"killed: lost {flow.lost} of {flow.sent}")

    assert flow.loss < 3 * LOSS


def test_a_direct_path_wins_over_the_relay_and_loses_next_to_nothing(lab: Lab) -> None:
    one, two = lab.boxes["one"], lab.boxes["two"]
    stream = start_stream(one.site.box, mesh_v4(two), patient(60.0))
    await_kernel(lab)
    carry_ipv6(lab)  # which is not translated
    await_path(lab, "direct", 90.0)
    time.sleep(patient(2.0))
    flow = stream.end()
    print(f"to direct: lost {flow.lost} of {flow.sent}")

    assert flow.loss < LOSS
