"""What each machine lets in: the parts of every rule that concern it.

A filter is a mapping from keys to packet filter rules, as it goes over the
wire: a part that did not change need not be sent again. Keys stand for the
sources as they are written in the policy, so that they survive an edit of
other rules and a change of who is behind a name.
Source: protocol document 6.1 and 6.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gatepost.policy.addresses import Addresses
from gatepost.policy.directory import Machines
from gatepost.policy.document import Ports
from gatepost.policy.rules import Kind, Rule, Sources, Target
from gatepost.wire.netmap import CapGrant, CapMap, FilterRule, NetPortRange, PortRange

Filter = Mapping[str, tuple[FilterRule, ...]]

# Capabilities that bring another one along, for the machines of the sources.
COMPANIONS = {
    "tailscale.com/cap/drive": "tailscale.com/cap/drive-sharer",
    "tailscale.com/cap/relay": "tailscale.com/cap/relay-target",
}


@dataclass(slots=True)
class _Parts:
    """A filter in the making: port ranges by key, protocol and sources; capabilities by key."""

    ports: dict[tuple[str, int | None, tuple[str, ...]], list[NetPortRange]] = field(
        default_factory=dict[tuple[str, int | None, tuple[str, ...]], list[NetPortRange]]
    )
    grants: dict[str, list[FilterRule]] = field(default_factory=dict[str, list[FilterRule]])

    def open(
        self,
        key: str,
        protocol: int | None,
        sources: tuple[str, ...],
        doors: Iterable[str],
        ports: Iterable[Ports],
    ) -> None:
        if sources:
            self.ports.setdefault((key, protocol, sources), []).extend(
                NetPortRange(ip=door, ports=PortRange(first=p.first, last=p.last))
                for p in ports
                for door in doors
            )

    def grant(self, key: str, sources: tuple[str, ...], grants: Iterable[CapGrant]) -> None:
        made = FilterRule(src_ips=sources, cap_grant=tuple(grants))
        if made.cap_grant:
            self.grants.setdefault(key, []).append(made)

    def filter(self) -> Filter:
        found: dict[str, list[FilterRule]] = {}
        for (key, protocol, sources), ports in self.ports.items():
            made = FilterRule(
                src_ips=sources,
                dst_ports=tuple(dict.fromkeys(ports)),
                ip_proto=None if protocol is None else (protocol,),
            )
            place = key if protocol is None else f"{key}-{protocol}"
            found.setdefault(place, []).append(made)
        for key, rules in self.grants.items():
            found.setdefault(key, []).extend(rules)
        return {key: tuple(rules) for key, rules in found.items()}


class FilterMaker:
    """Makes filters from rules; `people` are the users' own machines by user id."""

    def __init__(self, addresses: Addresses, people: Mapping[int, Machines]) -> None:
        self._addresses = addresses
        self._people = people

    def filter_of(self, machine_id: int, rules: Iterable[Rule]) -> Filter:
        """Return what a machine lets in by these rules; those of equal sources are joined."""
        parts = _Parts()
        for rule in rules:
            self._enter(rule, machine_id, parts)
            if rule.is_about_self:
                self._enter_self(rule, machine_id, parts)
            if rule.app:
                self._enter_companions(rule, machine_id, parts)
        return parts.filter()

    def _enter(self, rule: Rule, machine_id: int, parts: _Parts) -> None:
        sources = self._addresses.of_sources(rule.sources)
        for opening in rule.openings:
            target = opening.target
            if target.kind is not Kind.SELF and target.machines >> machine_id & 1:
                is_own = target.kind is Kind.NAMED
                doors = self._addresses.of(machine_id) if is_own else target.texts
                parts.open(rule.key, opening.protocol, sources, doors, opening.ports)
        if rule.app:
            doors_of_each = [
                self._capability_doors(t, machine_id)
                for t in rule.app_targets
                if t.kind is not Kind.SELF
            ]
            grants = [CapGrant(dsts=d, cap_map=values_of(rule.app)) for d in doors_of_each if d]
            parts.grant(f"{rule.key}-app", sources, grants)

    def _enter_self(self, rule: Rule, machine_id: int, parts: _Parts) -> None:
        member = self._addresses.machine(machine_id).member
        senders = rule.sources.senders & self._people.get(member, 0)
        if not senders:
            return
        sources = tuple(sorted(self._addresses.of_all(senders)))
        doors = self._addresses.of(machine_id)
        key = f"{rule.key}-self"
        for opening in rule.openings:
            if opening.target.kind is Kind.SELF:
                parts.open(key, opening.protocol, sources, doors, opening.ports)
        if any(t.kind is Kind.SELF for t in rule.app_targets):
            grant = CapGrant(dsts=_prefixes(doors), cap_map=values_of(rule.app))
            parts.grant(f"{key}-app", sources, (grant,))

    def _capability_doors(self, target: Target, machine_id: int) -> tuple[str, ...]:
        """Return where a capability holds: own addresses, and subnets as they are written."""
        if not target.machines >> machine_id & 1:
            return ()
        if target.kind is not Kind.WRITTEN:
            return _prefixes(self._addresses.of(machine_id))
        own = self._addresses.within(machine_id, target.addresses) if target.owners else ()
        behind = self._addresses.behind(machine_id, target.addresses)
        return (*_prefixes(own), *behind)

    def _enter_companions(self, rule: Rule, machine_id: int, parts: _Parts) -> None:
        """Give the sources what goes with a capability that they were granted."""
        wanted = [COMPANIONS[c] for c in rule.app if c in COMPANIONS]
        if not wanted or not rule.sources.senders >> machine_id & 1:
            return
        back = self._ways_back(rule, machine_id)
        if not back:
            return
        doors = _prefixes(self._source_doors(rule.sources, machine_id))
        grants = [CapGrant(dsts=doors, cap_map={companion: None}) for companion in wanted]
        parts.grant(f"{rule.key}-companion", back, grants)

    def _source_doors(self, sources: Sources, machine_id: int) -> tuple[str, ...]:
        if sources.named >> machine_id & 1:
            return self._addresses.of(machine_id)
        return self._addresses.within(machine_id, sources.addresses)

    def _ways_back(self, rule: Rule, machine_id: int) -> tuple[str, ...]:
        found: set[str] = set()
        for target in rule.app_targets:
            match target.kind:
                case Kind.NAMED:
                    found.update(self._addresses.of_all(target.machines))
                case Kind.SELF:
                    member = self._addresses.machine(machine_id).member
                    found.update(self._addresses.of_all(self._people.get(member, 0)))
                case Kind.ANYTHING:
                    found.update(self._addresses.everything)
                case _:
                    found.update(target.texts)
        return tuple(sorted(found))


def values_of(app: Mapping[str, tuple[str, ...]]) -> CapMap:
    """Return capabilities with their values as JSON values."""
    return {name: [json.loads(v) for v in values] for name, values in app.items()}


def _prefixes(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return single addresses as networks, the form that capabilities take."""
    return tuple(a + ("/128" if ":" in a else "/32") for a in addresses)
