"""Who comes back under another key is greeted, and nobody else."""

from __future__ import annotations

from tests.net.waiting import eventually

from gatepost.model.keys import NodePublic
from gatepost.net.renewed import RenewedKeys
from gatepost.testing.makers import make_node

OLD, NEW, NEWER = (NodePublic(bytes([n]) * 32) for n in (1, 2, 3))
TWICE = (0.0, 0.01)


async def test_a_peer_with_a_new_key_is_greeted_until_wireguard_must_know_it() -> None:
    greeted: list[NodePublic] = []
    renewed = RenewedKeys(greeted.append, TWICE)
    renewed.set_peers([make_node(2, key=OLD)])
    renewed.set_peers([make_node(2, key=NEW), make_node(3)])

    await eventually(lambda: greeted == [NEW, NEW])


async def test_a_key_that_is_over_before_it_was_greeted_is_left_alone() -> None:
    greeted: list[NodePublic] = []
    renewed = RenewedKeys(greeted.append, TWICE)
    for key in (OLD, NEW, NEWER):
        renewed.set_peers([make_node(2, key=key)])

    await eventually(lambda: len(greeted) == len(TWICE))
    assert set(greeted) == {NEWER}


async def test_peers_that_come_stay_or_go_are_not_greeted() -> None:
    greeted: list[NodePublic] = []
    renewed = RenewedKeys(greeted.append, (0.0,))
    renewed.set_peers([make_node(2, key=OLD)])
    renewed.set_peers([make_node(2, key=OLD), make_node(4)])
    renewed.set_peers([])
    renewed.set_peers([make_node(3, key=OLD)])
    renewed.set_peers([make_node(3, key=NEW)])

    await eventually(lambda: bool(greeted))
    assert greeted == [NEW]
