"""The mesh as it is now: one immutable snapshot, swapped whole.

`World` joins what was decided (`Records`), what each node reports, and who is
connected. Two worlds are compared by the identity of their nodes: a node that
did not change is the same object in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gatepost.coordination.records import NodeRecord, Records, Report
from gatepost.coordination.routes import EXIT, Carrier, carried, primaries
from gatepost.model.netmap import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What the server saw itself. `online` None: nothing seen since the server's start."""

    online: bool | None = None
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the world. `routes` are the prefixes that lead to it, beside its addresses."""

    record: NodeRecord
    report: Report = field(default_factory=Report)
    presence: Presence = field(default_factory=Presence)
    routes: tuple[IPNetwork, ...] = ()

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def primary_routes(self) -> tuple[IPNetwork, ...]:
        return tuple(r for r in self.routes if r not in EXIT)

    @property
    def carried(self) -> tuple[IPNetwork, ...]:
        """Announced and approved, whether or not another node has precedence."""
        return carried(self.report.routes, self.record.approved_routes)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`nodes` is sorted by id. `generation` counts up with every swap."""

    generation: int = 0
    records: Records = field(default_factory=Records)
    nodes: Mapping[int, Node] = field(default_factory=lambda: MappingProxyType({}))
    primaries: Mapping[IPNetwork, int] = field(default_factory=lambda: MappingProxyType({}))
    subnets: tuple[IPNetwork, ...] = ()  # every carried prefix but the default routes, sorted

    @classmethod
    def of(cls, records: Records, reports: Mapping[int, Report], now: float) -> World:
        """Return the world after a start, when nobody is known to be online."""
        nodes = {
            i: Node(
                record=r,
                report=reports.get(i, Report()),
                presence=Presence(expired=is_expired(r, now)),
            )
            for i, r in sorted(records.nodes.items())
        }
        return _settled(cls(records=records, nodes=nodes), nodes)

    def with_records(
        self, records: Records, touched: Mapping[int, Report | None], now: float
    ) -> World:
        """Return the world in which these records hold; only `touched` nodes may differ.

        A report given there is the first of a new node.
        """
        nodes = dict(self.nodes)
        for i, report in touched.items():
            record, old = records.nodes.get(i), nodes.get(i)
            if record is None:
                nodes.pop(i, None)
                continue
            expired = is_expired(record, now)
            if old is None:
                nodes[i] = Node(
                    record=record, report=report or Report(), presence=Presence(expired=expired)
                )
            elif old.record is not record:
                presence = replace(old.presence, expired=expired)
                nodes[i] = replace(old, record=record, presence=presence)
        return self._next(nodes, touched, records)

    def with_node(self, node: Node) -> World:
        """Return the world in which this node's report or presence is another."""
        nodes = dict(self.nodes)
        nodes[node.id] = node
        return self._next(nodes, (node.id,), self.records)

    def _next(self, nodes: dict[int, Node], touched: Iterable[int], records: Records) -> World:
        world = replace(self, generation=self.generation + 1, records=records, nodes=nodes)
        versions = (n for i in touched for n in (self.nodes.get(i), nodes.get(i)) if n is not None)
        return _settled(world, nodes) if any(map(_routing, versions)) else world


def is_expired(record: NodeRecord, now: float) -> bool:
    return record.key_expiry is not None and record.key_expiry <= now


def _routing(node: Node) -> bool:
    return bool(node.record.approved_routes or node.routes)


def _settled(world: World, nodes: dict[int, Node]) -> World:
    """Decide again who carries what, and give every node its routes (in `nodes`, the copy)."""
    routers = [n for n in nodes.values() if _routing(n)]
    carriers = [
        Carrier(id=n.id, routes=n.carried, online=n.presence.online)
        for n in routers
        if not n.presence.expired
    ]
    chosen = primaries(carriers, world.primaries)
    offered = {c.id: c.routes for c in carriers}
    for node in routers:
        routes = tuple(p for p in offered.get(node.id, ()) if p in EXIT or chosen.get(p) == node.id)
        if routes != node.routes:
            nodes[node.id] = replace(node, routes=routes)
    subnets = tuple(sorted(chosen, key=lambda p: (p.version, int(p.network_address), p.prefixlen)))
    return replace(world, nodes=nodes, primaries=chosen, subnets=subnets)
