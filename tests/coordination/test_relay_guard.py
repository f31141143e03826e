"""Who may use the relay, and for how long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.coordination.makers import ALICE, make_node, make_request, node_key, running_ledger

from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.records import DropNode, PutNode, PutUser, Records
from gatepost.coordination.relay_guard import RelayGuard
from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import ClientCounters


class Relay:
    """Keeps who is connected, and lets go of whoever is expelled."""

    def __init__(self, *keys: NodePublic) -> None:
        self.keys = list(keys)
        self.looks = 0

    def clients(self) -> tuple[ClientCounters, ...]:
        self.looks += 1
        return tuple(client_of(key) for key in self.keys)

    def expel(self, key: NodePublic) -> int:
        before = len(self.keys)
        self.keys = [k for k in self.keys if k != key]
        return before - len(self.keys)


def client_of(key: NodePublic) -> ClientCounters:
    return ClientCounters(
        key=key,
        address="192.0.2.1",
        since=0.0,
        preferred=True,
        mesh=False,
        slowed=0,
        received_packets=0,
        received_octets=0,
        sent_packets=0,
        sent_octets=0,
        dropped_packets=0,
        waiting_octets=0,
    )


async def put(ledger: Ledger, *numbers: int) -> None:
    def decide(records: Records) -> Decision[None]:
        assert not records.nodes
        return Decision(None, (PutUser(ALICE), *(PutNode(make_node(n)) for n in numbers)))

    await ledger.change(decide)


async def test_nodes_may_use_the_relay_and_strangers_may_not(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await put(ledger, 1)
        guard = RelayGuard(ledger)

        assert guard.admits(node_key(1))
        assert not guard.admits(make_request(2).node_key)


async def test_a_deleted_node_loses_its_relay_and_the_others_keep_theirs(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await put(ledger, 1, 2)
        guard, relay = RelayGuard(ledger), Relay(node_key(1), node_key(2))
        guard.tick(relay)
        assert relay.keys == [node_key(1), node_key(2)]
        await ledger.change(lambda _: Decision(None, (DropNode(1),)))
        guard.tick(relay)

        assert relay.keys == [node_key(2)]


async def test_an_expired_node_loses_its_relay(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        await put(ledger, 1)
        guard, relay = RelayGuard(ledger), Relay(node_key(1))
        ledger.see(1, replace(ledger.world.nodes[1].presence, expired=True))
        guard.tick(relay)

        assert relay.keys == []


async def test_nobody_is_looked_at_while_nothing_changes(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db") as ledger:
        guard, relay = RelayGuard(ledger), Relay()
        guard.tick(relay)
        guard.tick(relay)

        assert relay.looks == 1
