"""The proof tells a mesh that works from one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatepost.testing.by_hand import DEVICE, connect_by_hand, kernel_has_wireguard
from gatepost.testing.lab_proof import await_pairs, ping_pairs, transfer
from gatepost.testing.netns import LabError, machines
from gatepost.testing.topology import Nat, Topology, build

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Topology]:
    with machines() as owner:
        topology = build(owner, {"a": Nat.NONE, "b": Nat.NONE})
        userspace = not kernel_has_wireguard(topology.internet)
        connect_by_hand(topology.sites, userspace=userspace)
        yield topology


def test_wireguard_by_hand_connects_the_lans(by_hand: Topology) -> None:
    await_pairs(by_hand.sites)
    pairs = ping_pairs(by_hand.sites, count=2)

    assert len(pairs) == 4
    assert all(pair.works and pair.round_trip for pair in pairs)


def test_a_transfer_says_how_much_arrived(by_hand: Topology) -> None:
    one, other = by_hand.sites
    result = transfer(one.host, other.host, str(other.host_v6), seconds=1)

    assert result.octets > 1_000_000
    assert result.rate == pytest.approx(result.octets * 8 / result.seconds / 1e6, rel=0.1)


def test_a_broken_pair_is_named(by_hand: Topology) -> None:
    one, other = by_hand.sites
    one.box.ip(f"route delete {other.lan_v6} dev {DEVICE}")
    try:
        pairs = ping_pairs(by_hand.sites, count=1)
        assert {pair.version for pair in pairs if not pair.works} == {6}
        with pytest.raises(LabError, match=f"{one.host.name} to {other.host_v6}"):
            await_pairs(by_hand.sites, seconds=0.1)
    finally:
        one.box.ip(f"route add {other.lan_v6} dev {DEVICE}")


def test_a_transfer_to_nobody_fails(by_hand: Topology) -> None:
    one, other = by_hand.sites
    with pytest.raises(LabError, match=r"transfer from host-a to 10\.9\.9\.9"):
        transfer(one.host, other.host, "10.9.9.9", seconds=1)
