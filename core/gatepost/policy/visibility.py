"""Who may know of whom, and of which subnets: what filters open, seen from both ends.

Two machines are peers if a rule lets either send to the other; so being peers
is mutual. A subnet shows to those who may send into it, to those who let its
hosts in, and to those who carry it as well. Source: protocol document 6.2 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gatepost.policy.directory import Directory, Machines
from gatepost.policy.intervals import Intervals, Span, bits
from gatepost.policy.rules import Kind, Rule, Target


@dataclass(frozen=True, slots=True)
class Steering:
    """Some machines may use a subnet, or the internet, only through certain others."""

    users: Machines
    through: Machines


@dataclass(frozen=True, slots=True)
class Reach:
    """Who may use one subnet (or the internet): through anybody, and through whom."""

    users: Machines = 0
    steered: tuple[Steering, ...] = ()

    def of(self, machine_id: int) -> tuple[bool, Machines]:
        """Say for one machine whether the way is free, and through whom else it may go."""
        through = 0
        for steering in self.steered:
            if steering.users >> machine_id & 1:
                through |= steering.through
        return bool(self.users >> machine_id & 1), through


NOWHERE = Reach()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """`peers` are mutual and never contain the machine itself."""

    peers: Mapping[int, Machines] = field(default_factory=dict[int, Machines])
    subnets: Mapping[Span, Reach] = field(default_factory=dict[Span, Reach])
    internet: Reach = field(default_factory=Reach)


def visibility(rules: Iterable[Rule], directory: Directory) -> Visibility:
    """Work out what everybody sees."""
    rules = tuple(rules)
    peers = dict.fromkeys(directory.inventory.machines, 0)
    for senders, receivers in _pairs(rules, directory):
        for machine_id in bits(senders):
            peers[machine_id] |= receivers
        for machine_id in bits(receivers):
            peers[machine_id] |= senders
    return Visibility(
        peers={i: p & ~(1 << i) for i, p in peers.items()},
        subnets=subnets(rules, directory),
        internet=internet(rules),
    )


def peers_of(machine_id: int, rules: Iterable[Rule], directory: Directory) -> Machines:
    """Work out whom one machine sees."""
    found = 0
    bit = 1 << machine_id
    for senders, receivers in _pairs(rules, directory):
        found |= receivers if senders & bit else 0
        found |= senders if receivers & bit else 0
    return found & ~bit


def _pairs(rules: Iterable[Rule], directory: Directory) -> Iterable[tuple[Machines, Machines]]:
    """Return senders and receivers; rules with the same senders are one pair."""
    receivers: dict[Machines, Machines] = {}
    own: Machines = 0
    for rule in rules:
        senders = rule.sources.all
        receivers[senders] = receivers.get(senders, 0) | rule.receivers
        if rule.is_about_self:
            own |= rule.sources.senders
    pairs = [(s, r) for s, r in receivers.items() if s and r]
    if own:
        pairs += [(own & m, m) for m in directory.by_member.values() if own & m]
    return pairs


def subnets(rules: Iterable[Rule], directory: Directory) -> dict[Span, Reach]:
    """Return who may use each subnet that somebody carries."""
    ways = _Ways(directory.connectors)
    for rule in rules:
        ways.add(rule)
    return {s: ways.reach(s, carriers) for s, carriers in sorted(directory.carriers.items())}


@dataclass(slots=True)
class _Ways:
    """All rules, those with the same sources or the same target as one.

    The internet leads into a subnet only where a connector for apps carries it.
    """

    connectors: Machines
    inbound: dict[int, tuple[Intervals, Machines]] = field(
        default_factory=dict[int, tuple[Intervals, Machines]]
    )
    outbound: dict[int, tuple[Target, Machines]] = field(
        default_factory=dict[int, tuple[Target, Machines]]
    )
    steered: list[Rule] = field(default_factory=list[Rule])

    def add(self, rule: Rule) -> None:
        addresses = rule.sources.addresses
        if addresses:
            known = self.inbound.get(id(addresses), (addresses, 0))[1]
            self.inbound[id(addresses)] = addresses, known | rule.receivers
        if rule.via is not None:
            self.steered.append(rule)
            return
        for opening in rule.openings:
            target = opening.target
            if target.kind in {Kind.ANYTHING, Kind.WRITTEN, Kind.INTERNET}:
                known = self.outbound.get(id(target), (target, 0))[1]
                self.outbound[id(target)] = target, known | rule.sources.all

    def reach(self, span: Span, carriers: Machines) -> Reach:
        users = carriers  # those who could stand in for each other know of each other
        for addresses, receivers in self.inbound.values():
            users |= receivers if addresses.meets(span) else 0
        for target, senders in self.outbound.values():
            is_app = target.kind is Kind.INTERNET and target.machines & carriers & self.connectors
            if _leads_into(target, span) or (is_app and target.addresses.meets(span)):
                users |= senders
        steered = tuple(
            Steering(r.sources.all, r.via & carriers)
            for r in self.steered
            if r.via is not None
            and r.via & carriers
            and any(_leads_into(o.target, span) for o in r.openings)
        )
        return Reach(users, steered)


def _leads_into(target: Target, span: Span) -> bool:
    if target.kind is Kind.ANYTHING:
        return True
    return target.kind is Kind.WRITTEN and target.addresses.meets(span)


def internet(rules: Iterable[Rule]) -> Reach:
    """Return who may use exit nodes."""
    users = 0
    steered: list[Steering] = []
    for rule in rules:
        kinds = {o.target.kind for o in rule.openings}
        if rule.via is None and kinds & {Kind.ANYTHING, Kind.INTERNET}:
            users |= rule.sources.all
        elif rule.via is not None and Kind.INTERNET in kinds:
            steered.append(Steering(rule.sources.all, rule.via))
    return Reach(users, tuple(steered))
