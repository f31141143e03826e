"""The mesh as it is now: one immutable snapshot, swapped whole.

`World` joins what was decided (`Records`), what each node reports, and who is
connected. Two worlds are compared by the identity of their nodes: a node that
did not change is the same object in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gatepost.coordination.policy.inventory import approved_without_asking, machine_of
from gatepost.coordination.policy.rights import NOBODYS, Rights
from gatepost.coordination.records import NodeRecord, PolicyVersion, Records, Report
from gatepost.coordination.routes import Carrier, carried, precedence
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import IPNetwork
from gatepost.policy.compiled import Compiled
from gatepost.policy.intervals import Span, span_of
from gatepost.policy.inventory import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What the server saw itself. `online` None: nothing seen since the server's start.

    `reachable` False: it carries a prefix as others do, and only the others answer.
    """

    online: bool | None = None
    expired: bool = False
    reachable: bool = True

    @property
    def carries(self) -> bool | None:
        """Say whether prefixes may be sent to it: as `online`, but never if it is unreachable."""
        return self.online if self.reachable else False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the world. `routes` are the prefixes that lead to it, beside its addresses.

    `approved` are those of its announced routes that the policy approves by itself.
    """

    record: NodeRecord
    report: Report = field(default_factory=Report)
    presence: Presence = field(default_factory=Presence)
    routes: tuple[IPNetwork, ...] = ()
    approved: tuple[IPNetwork, ...] = ()

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def primary_routes(self) -> tuple[IPNetwork, ...]:
        return tuple(r for r in self.routes if r not in EVERYWHERE)

    @property
    def carried(self) -> tuple[IPNetwork, ...]:
        """Announced and approved, whether or not another node has precedence."""
        return carried(self.report.routes, (*self.record.approved_routes, *self.approved))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`nodes` is sorted by id. `generation` counts up with every swap."""

    generation: int = 0
    records: Records = field(default_factory=Records)
    nodes: Mapping[int, Node] = field(default_factory=lambda: MappingProxyType({}))
    precedence: Mapping[IPNetwork, tuple[int, ...]] = field(  # who carries it, best first
        default_factory=lambda: MappingProxyType({})
    )
    spans: Mapping[Span, IPNetwork] = field(default_factory=lambda: MappingProxyType({}))
    order: Mapping[Span, tuple[int, ...]] = field(  # the precedence, as the policy names prefixes
        default_factory=lambda: MappingProxyType({})
    )
    rights: Rights = field(default_factory=lambda: NOBODYS)

    @classmethod
    def of(
        cls,
        records: Records,
        reports: Mapping[int, Report],
        now: float,
        incumbents: Mapping[IPNetwork, int] | None = None,
    ) -> World:
        """Return the world after a start, when nobody is known to be online.

        `incumbents` carried prefixes before.
        """
        nodes = {
            i: Node(
                record=r,
                report=reports.get(i, Report()),
                presence=Presence(expired=is_expired(r, now)),
            )
            for i, r in sorted(records.nodes.items())
        }
        return _under_new_rights(cls(generation=-1, records=records), nodes, records, incumbents)

    @property
    def primaries(self) -> Mapping[IPNetwork, int]:
        """The node that carries each prefix for everybody whom the policy does not steer."""
        return {p: ids[0] for p, ids in self.precedence.items()}

    @property
    def contested(self) -> Mapping[IPNetwork, int]:
        """Who carries each prefix that several nodes could carry."""
        return {p: ids[0] for p, ids in self.precedence.items() if len(ids) > 1}

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
        if self.is_ruled_anew_by(records):
            return _under_new_rights(self, nodes, records)
        return self._next(nodes, touched, records)

    def is_ruled_anew_by(self, records: Records) -> bool:
        """Say whether `with_records` compiles everything: with 2,000 nodes half a second."""
        return records.policy is not self.records.policy or records.users is not self.records.users

    def if_ruled_by(self, text: str, now: float) -> Compiled:
        """Return the rights that nodes would have under another policy, and the routes it approves.

        Raise `PolicyRefusedError` for a text that is no policy.
        """
        policy = PolicyVersion(id=0, text=text, author="", created=now)
        return self.with_records(replace(self.records, policy=policy), {}, now).rights.compiled

    def caught_up(self, base: World, current: World) -> World:
        """Return this world, which was made from `base`, in the place of `current`.

        In the meantime nodes may have reported, and come or gone; nobody has decided anything.
        """
        nodes, moved = dict(self.nodes), list[int]()
        for i, node in current.nodes.items():
            mine = nodes.get(i)
            if mine is None or node is base.nodes.get(i):
                continue
            presence = node.presence
            if mine.record is not node.record:
                presence = replace(presence, expired=mine.presence.expired)
            nodes[i] = replace(mine, report=node.report, presence=presence)
            moved.append(i)
        # Who took a prefix over meanwhile keeps it, although it was another's in `base`.
        incumbents = {**self.primaries, **current.primaries}
        world = self._next(nodes, moved, self.records, incumbents)
        return replace(world, generation=current.generation + 1)

    def with_node(self, node: Node) -> World:
        """Return the world in which this node's report or presence is another."""
        nodes = dict(self.nodes)
        nodes[node.id] = node
        return self._next(nodes, (node.id,), self.records)

    def _next(
        self,
        nodes: dict[int, Node],
        touched: Iterable[int],
        records: Records,
        incumbents: Mapping[IPNetwork, int] | None = None,
    ) -> World:
        touched = tuple(touched)
        _approve(nodes, touched, self.rights)
        changes = {i: _machine(nodes[i]) if i in nodes else None for i in touched}
        world = replace(
            self,
            generation=self.generation + 1,
            records=records,
            nodes=nodes,
            rights=self.rights.with_machines(changes),
        )
        versions = (n for i in touched for n in (self.nodes.get(i), nodes.get(i)) if n is not None)
        if not any(map(_routing, versions)):
            return world
        if incumbents is None:
            return _settled_again(self, world, nodes, frozenset(touched))
        return _settled(world, nodes, incumbents)


def _under_new_rights(
    old: World,
    nodes: dict[int, Node],
    records: Records,
    incumbents: Mapping[IPNetwork, int] | None = None,
) -> World:
    """Return the world under another policy, or with other users: everything is compiled."""
    rights = Rights.of(records.policy, records.users, old.rights)
    _approve(nodes, nodes, rights)
    world = replace(old, generation=old.generation + 1, records=records, nodes=nodes)
    machines = {i: _machine(n) for i, n in nodes.items()}
    return replace(_settled(world, nodes, incumbents), rights=rights.with_machines(machines))


def is_expired(record: NodeRecord, now: float) -> bool:
    return record.key_expiry is not None and record.key_expiry <= now


def _approve(nodes: dict[int, Node], touched: Iterable[int], rights: Rights) -> None:
    """Give nodes (in `nodes`, the copy) the routes that the policy approves without asking."""
    for i in tuple(touched):
        node = nodes.get(i)
        if node is None:
            continue
        members = rights.inventory.members
        approved = approved_without_asking(node.record, node.report, rights.policy, members)
        if approved != node.approved:
            nodes[i] = replace(node, approved=approved)


def _machine(node: Node) -> Machine:
    routes = () if node.presence.expired else node.carried
    return machine_of(node.record, node.report, routes)


def _routing(node: Node) -> bool:
    return bool(node.record.approved_routes or node.approved or node.routes)


def _settled(
    world: World, nodes: dict[int, Node], incumbents: Mapping[IPNetwork, int] | None = None
) -> World:
    """Decide again who carries what, and give every node its routes (in `nodes`, the copy)."""
    routers = [n for n in nodes.values() if _routing(n)]
    order = precedence([_carrier(n, _offered(n)) for n in routers], incumbents or world.primaries)
    for node in routers:
        _give_routes(nodes, node.id, order)
    spans = {span_of(p): p for p in order}
    ranks = {span: order[prefix] for span, prefix in spans.items()}
    return replace(world, nodes=nodes, precedence=order, spans=spans, order=ranks)


def _settled_again(
    old: World, world: World, nodes: dict[int, Node], touched: frozenset[int]
) -> World:
    """Return what `_settled` returns, where nobody but the touched nodes has changed.

    Only prefixes that one of them had or has are decided: of 10,000 one takes no time.
    """
    prefixes = {p for i in touched for p in _in_question(old.nodes.get(i), nodes.get(i))}
    offers: dict[int, list[IPNetwork]] = {}
    for i in touched & nodes.keys():
        offers[i] = [p for p in _offered(nodes[i]) if p in prefixes]
    before = {p: old.precedence.get(p, ()) for p in prefixes}
    for prefix, ids in before.items():
        for i in ids:
            if i not in touched:
                offers.setdefault(i, []).append(prefix)
    found = precedence(
        [_carrier(nodes[i], tuple(offered)) for i, offered in offers.items()],
        {p: ids[0] for p, ids in before.items() if ids},
    )
    order, spans, ranks = dict(old.precedence), dict(old.spans), dict(old.order)
    for prefix in prefixes:
        order.pop(prefix, None)
        spans.pop(span_of(prefix), None)
        ranks.pop(span_of(prefix), None)
    for prefix, ids in found.items():
        order[prefix] = ranks[span_of(prefix)] = ids
        spans[span_of(prefix)] = prefix
    for i in (touched | offers.keys()) & nodes.keys():
        _give_routes(nodes, i, order)
    return replace(world, nodes=nodes, precedence=order, spans=spans, order=ranks)


def _in_question(before: Node | None, after: Node | None) -> frozenset[IPNetwork]:
    """Return the prefixes of one node of which another node may be the first now."""
    had, has = (frozenset(_offered(n)) if n else frozenset[IPNetwork]() for n in (before, after))
    if before is not None and after is not None and _rank(before) == _rank(after):
        return (had ^ has).difference(EVERYWHERE)
    return (had | has).difference(EVERYWHERE)


def _rank(node: Node) -> tuple[bool | None, tuple[IPNetwork, ...]]:
    return node.presence.carries, node.record.preferred_routes


def _offered(node: Node) -> tuple[IPNetwork, ...]:
    return () if node.presence.expired else node.carried


def _carrier(node: Node, routes: tuple[IPNetwork, ...]) -> Carrier:
    online, preferred = _rank(node)
    return Carrier(id=node.id, routes=routes, online=online, preferred=preferred)


def _give_routes(
    nodes: dict[int, Node], node_id: int, order: Mapping[IPNetwork, tuple[int, ...]]
) -> None:
    node = nodes[node_id]
    routes = tuple(p for p in _offered(node) if p in EVERYWHERE or order.get(p, (0,))[0] == node_id)
    if routes != node.routes:
        nodes[node_id] = replace(node, routes=routes)
