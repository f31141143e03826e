"""Whether one address may reach another, and by which rule.

This is worked out from the rules themselves, one pair at a time, not from the
filters: what the filters of all machines let in together must be the same
(a test says so).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatepost.model.netmap import MESH_V4, MESH_V6, IPAddress
from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Machines
from gatepost.policy.filters import COMPANIONS
from gatepost.policy.intervals import Intervals, bits, number_of, span_of
from gatepost.policy.ports import ICMP, ICMPV6, TCP, UDP, WITH_PORTS
from gatepost.policy.rules import Kind, Opening, Rule, Target
from gatepost.policy.selectors import Selector

DEFAULT_PROTOCOLS = frozenset({TCP, UDP, ICMP, ICMPV6})
_MESH = Intervals.of([span_of(MESH_V4), span_of(MESH_V6)])  # never behind an exit node


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A packet. `port` is the destination's; it does not count for protocols without ports.

    `is_ping`: an echo request, which all clients let in wherever a rule opens anything.
    """

    source: IPAddress
    destination: IPAddress
    port: int = 0
    protocol: int = TCP
    is_ping: bool = False


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name in a rule stands for: machines by id, or addresses as text."""

    name: Selector
    machines: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`rules` let the packet through, in the order of the policy; `receivers` take it in.

    `is_written` without `is_allowed`: a rule says yes, but no machine has or
    carries the destination. `capabilities` are what the source has at the
    destination, as (name, values as JSON).
    """

    is_allowed: bool = False
    is_written: bool = False
    rules: tuple[Rule, ...] = ()
    receivers: tuple[int, ...] = ()
    capabilities: tuple[tuple[str, tuple[str, ...]], ...] = ()


def can(compiled: Compiled, question: Question) -> Answer:
    """Answer a question."""
    asked = _Asked(compiled, question)
    written: list[Rule] = []
    allowed: list[Rule] = []
    receivers = 0
    for rule in compiled.rules:
        for opening in rule.openings:
            if not _carries(opening, question) or not asked.may_send(rule, opening.target):
                continue
            here = asked.receivers(opening.target)
            if here is not None:
                written.append(rule)
                receivers |= here
                allowed += [rule] if here else []
    return Answer(
        is_allowed=bool(allowed),
        is_written=bool(written),
        rules=tuple({r.place_in_policy: r for r in allowed or written}.values()),
        receivers=tuple(bits(receivers)),
        capabilities=tuple(asked.capabilities()),
    )


def meanings(compiled: Compiled, rule: Rule) -> tuple[Meaning, ...]:
    """Return what each name of a rule stands for now, sources first."""
    names: list[Selector] = [*rule.names]
    names += [t.selector for t in rule.targets]
    found: list[Meaning] = []
    for name in dict.fromkeys(names):
        target = compiled.compiler.target(name)
        part = compiled.expander.expand(name)
        machines = target.owners | part.machines
        found.append(Meaning(name, tuple(bits(machines)), target.texts or part.texts))
    return tuple(found)


class _Asked:
    """One question, with both ends looked up once."""

    def __init__(self, compiled: Compiled, question: Question) -> None:
        self._compiled = compiled
        self._directory = compiled.directory
        self._source = number_of(question.source)
        self._destination = number_of(question.destination)
        self._sender = self._owner(self._source)
        self._owner_there = self._owner(self._destination)

    def _owner(self, number: int) -> Machines:
        return self._directory.at(Intervals.of([(number, number)]))

    def may_send(self, rule: Rule, target: Target) -> bool:
        if target.kind is Kind.SELF:
            return bool(self._sender & rule.sources.senders & self._mine())
        return bool(self._sender & rule.sources.named) or self._source in rule.sources.addresses

    def _mine(self) -> Machines:
        """Return the machines of the person whose machine is the source."""
        found = 0
        for own in self._directory.by_member.values():
            found |= own if own & self._sender else 0
        return found

    def receivers(self, target: Target) -> Machines | None:
        """Return the machines that let it in by a target; None if the target is another."""
        match target.kind:
            case Kind.SELF:
                here = self._owner_there & self._mine()
                return here or None
            case Kind.NAMED:
                here = self._owner_there & target.machines
                return here or None
            case _:
                if self._destination not in target.addresses:
                    return None
                return self._where(target)

    def _where(self, target: Target) -> Machines:
        """Return those of a target's machines that would take the packet as theirs to deliver."""
        if target.kind is Kind.INTERNET:
            return target.machines
        exits = 0 if self._destination in _MESH else self._directory.exits
        return target.machines & (self._owner_there | self._carriers() | exits)

    def _carriers(self) -> Machines:
        found = 0
        for span, machines in self._directory.carriers.items():
            found |= machines if span[0] <= self._destination <= span[1] else 0
        return found

    def capabilities(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what the source may do at the destination."""
        for rule in self._compiled.rules:
            for target in rule.app_targets:
                if self.may_send(rule, target) and self.receivers(target):
                    yield from rule.app.items()
                if self._is_companion(rule, target):
                    yield from ((COMPANIONS[c], ()) for c in rule.app if c in COMPANIONS)

    def _is_companion(self, rule: Rule, target: Target) -> bool:
        """Say whether the destination got the capability and the source is where it holds."""
        there = self._owner_there & rule.sources.senders
        if not there & rule.sources.named and self._destination not in rule.sources.addresses:
            return False
        match target.kind:
            case Kind.SELF:
                return bool(there & self._mine())
            case Kind.NAMED:
                return bool(there and self._sender & target.machines)
            case _:
                return bool(there) and self._source in target.addresses


def _carries(opening: Opening, question: Question) -> bool:
    """Say whether an opening is for this protocol and port."""
    if question.is_ping:
        return True
    if opening.protocol is None:
        if question.protocol not in DEFAULT_PROTOCOLS:
            return False
    elif opening.protocol != question.protocol:
        return False
    if question.protocol not in WITH_PORTS:
        return True
    return any(p.first <= question.port <= p.last for p in opening.ports)
