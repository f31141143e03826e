"""What a node is shown of others' networks, and who carries a network after a restart."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.coordination.makers import ALICE, MESH, NOW, make_node, make_report, running_ledger

from gatepost.coordination.administration import change_node
from gatepost.coordination.delta import Messages
from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.records import PutNode, PutUser
from gatepost.coordination.sight import group_of
from gatepost.coordination.world import Node, World
from gatepost.errors import RefusedError, SettingsError
from gatepost.hookspecs import MapItem
from gatepost.model.admin import NodeRequest, RouteChoiceDocument
from gatepost.model.netmap import IPNetwork
from gatepost.wire.go_json import read_json
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapResponse

NET, WIDE, OTHER = map(ip_network, ("10.1.0.0/16", "10.0.0.0/8", "fd00:1::/64"))
ROUTER, SECOND, VIEWER = 1, 2, 3


async def fill(ledger: Ledger, routes: tuple[IPNetwork, ...], *carriers: int) -> None:
    edits = [
        PutNode(
            make_node(i, approved_routes=routes if i in carriers else ()),
            make_report(i, **_announced(routes if i in carriers else ())),
        )
        for i in (ROUTER, SECOND, VIEWER)
    ]
    await ledger.change(lambda _: Decision(None, (PutUser(ALICE), *edits)))


def _announced(routes: tuple[IPNetwork, ...]) -> dict[str, object]:
    return {"routes": routes, "hostinfo": Hostinfo(routable_ips=tuple(map(str, routes)))}


def no_items(_world: World, _node: Node) -> tuple[MapItem, ...]:
    return ()


async def wish(ledger: Ledger, node_id: int, asked: NodeRequest) -> None:
    await ledger.change(lambda r: change_node(r, str(node_id), asked, NOW))


def shown(ledger: Ledger) -> set[IPNetwork]:
    routers = group_of(ledger.world, VIEWER).routers
    return {network for routes in routers.values() for network in routes}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (RouteChoiceDocument(), {NET, WIDE, OTHER}),
        (RouteChoiceDocument(only=()), set[IPNetwork]()),
        (RouteChoiceDocument(only=("10.1.0.0/16",)), {NET}),
        (RouteChoiceDocument(only=("10.0.0.0/8",)), {NET, WIDE}),
        (RouteChoiceDocument(refused=("10.1.0.0/16",)), {WIDE, OTHER}),
        (RouteChoiceDocument(only=("10.0.0.0/8",), refused=("10.1.0.0/16",)), {WIDE}),
    ],
)
async def test_a_node_is_shown_what_was_chosen_for_it(
    tmp_path: Path, choice: RouteChoiceDocument, expected: set[IPNetwork]
) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET, WIDE, OTHER), ROUTER)
        await wish(ledger, VIEWER, NodeRequest(accepts=choice))

        assert shown(ledger) == expected


async def test_a_choice_reaches_the_node_as_a_change(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER)
        before = ledger.world
        await wish(ledger, VIEWER, NodeRequest(accepts=RouteChoiceDocument(only=())))
        key = ledger.world.nodes[VIEWER].record.key
        frame = Messages(MESH, no_items).between(before, ledger.world, VIEWER, key, "")
        message = read_json(frame[4:], MapResponse)
        (peer,) = message.peers_changed or (None,)

        assert peer is not None
        assert peer.id == ROUTER
        assert str(NET) not in (peer.allowed_ips or ())


async def test_choices_and_preferences_survive_a_restart(tmp_path: Path) -> None:
    choice = RouteChoiceDocument(only=("10.0.0.0/8",), refused=("10.1.0.0/16",))
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER)
        await wish(ledger, ROUTER, NodeRequest(accepts=choice, prefer_routes=(str(NET),)))
        written = ledger.world.records.nodes[ROUTER]
    async with running_ledger(tmp_path / "db") as ledger:
        assert ledger.world.records.nodes[ROUTER] == written
        assert written.preferred_routes == (NET,)


async def test_who_carries_a_network_carries_it_after_a_restart(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER, SECOND)
        assert ledger.world.primaries[NET] == ROUTER
        presence = ledger.world.nodes[ROUTER].presence
        ledger.see(ROUTER, replace(presence, reachable=False))
        ledger.see(ROUTER, presence)
    async with running_ledger(tmp_path / "db") as ledger:
        assert ledger.world.primaries[NET] == SECOND


async def test_a_preferred_node_is_given_its_network_back(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER, SECOND)
        await wish(ledger, SECOND, NodeRequest(prefer_routes=(str(NET),)))
        found = [ledger.world.primaries[NET]]
        presence = ledger.world.nodes[SECOND].presence
        for reachable in (False, True):
            ledger.see(SECOND, replace(presence, reachable=reachable))
            found.append(ledger.world.primaries[NET])

        assert found == [SECOND, ROUTER, SECOND]


@pytest.mark.parametrize("text", ["10.1.0.1/16", "nonsense"])
async def test_a_choice_that_is_no_network_is_refused(tmp_path: Path, text: str) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER)
        with pytest.raises(RefusedError, match=text):
            await wish(ledger, VIEWER, NodeRequest(accepts=RouteChoiceDocument(refused=(text,))))


async def test_an_endless_choice_is_refused(tmp_path: Path) -> None:
    many = tuple(f"10.{i // 256}.{i % 256}.0/24" for i in range(1025))
    async with running_ledger(tmp_path / "db") as ledger:
        await fill(ledger, (NET,), ROUTER)
        with pytest.raises(SettingsError, match="1024"):
            await wish(ledger, VIEWER, NodeRequest(accepts=RouteChoiceDocument(only=many)))
