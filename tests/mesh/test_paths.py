"""Two boxes that cannot reach each other directly still talk, through the relay of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatepost.model.status import Status
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import await_pairs, ping_pairs

pytestmark = [pytest.mark.root, pytest.mark.mesh]

SWITCH = 15.0  # seconds that a change of path may take, worst case of silent loss


@pytest.fixture
def no_udp(lab: Lab) -> Iterator[None]:
    lab.topology.block_udp()
    yield
    lab.topology.allow_udp()


def uses(status: Status, far: str, path: str) -> bool:
    return any(peer.path == path for peer in status.peers if peer.name.startswith(far))


@pytest.mark.usefixtures("no_udp")
def test_without_udp_traffic_goes_by_derp(lab: Lab) -> None:
    await_pairs(lab.sites, seconds=SWITCH)
    pairs = ping_pairs(lab.sites, count=3)

    assert [pair for pair in pairs if not pair.works] == []
    status = lab.boxes["b"].await_status(lambda s: uses(s, "box-c", "derp"), "DERP path", SWITCH)
    assert any(peer.relay for peer in status.peers if peer.name.startswith("box-c"))


def test_with_udp_back_the_path_is_direct_again(lab: Lab) -> None:
    await_pairs(lab.sites)
    lab.boxes["b"].await_status(lambda s: uses(s, "box-c", "direct"), "direct path", 60)

    assert [pair for pair in ping_pairs(lab.sites, count=3) if not pair.works] == []
