"""All ways that a compiled policy opens, found by their destination.

A destination is a machine (by its own addresses), a network that some machine
carries (or the part of it that a rule is about), or the internet behind exit
nodes. A way is traffic (`protocol` and `ports`) or a `word`: a capability, or
signing in over SSH.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Machines
from gatepost.policy.document import Ports
from gatepost.policy.intervals import Intervals, Span, bits
from gatepost.policy.rules import Kind, Target


@dataclass(frozen=True, slots=True)
class Way:
    """`protocol` None: the usual ones."""

    senders: Machines
    word: str = ""
    protocol: int | None = None
    ports: tuple[Ports, ...] = ()


class Ways:
    """An index over one compiled policy."""

    def __init__(self, compiled: Compiled) -> None:
        self._anywhere: list[Way] = []
        self._internet: list[Way] = []
        self._own: list[Way] = []
        self._to_machine: dict[int, list[Way]] = {}
        self._written: list[tuple[Intervals, Way]] = []
        self._carried = Intervals.of(compiled.directory.carriers)
        self._has_exits = bool(compiled.directory.exits)
        self._families = {
            machine: family
            for family in compiled.directory.by_member.values()
            for machine in bits(family)
        }
        for way, target in _opened(compiled):
            if way.senders:
                self._enter(way, target)

    def _enter(self, way: Way, target: Target) -> None:
        match target.kind:
            case Kind.ANYTHING:
                self._anywhere.append(way)
            case Kind.INTERNET:
                self._internet.append(way)
            case Kind.SELF:
                self._own.append(way)
            case Kind.NAMED | Kind.WRITTEN:
                for machine in bits(target.owners):
                    self._to_machine.setdefault(machine, []).append(way)
                if target.addresses:
                    self._written.append((target.addresses, way))

    def to_machine(self, machine: int) -> frozenset[Way]:
        """Return the ways from other machines."""
        others = ~(1 << machine)
        family = self._families.get(machine, 0)
        known = (*self._to_machine.get(machine, ()), *self._anywhere)
        own = (replace(w, senders=w.senders & family & others) for w in self._own)
        named = (replace(w, senders=w.senders & others) for w in known)
        return frozenset(w for w in (*named, *own) if w.senders)

    def parts(self, network: Span) -> Iterator[Span]:
        """Yield a carried network, and each part of it that a rule is about."""
        yield network
        for addresses in {addresses for addresses, _ in self._written}:
            for first, last in addresses.within(network):
                yield max(first, network[0]), min(last, network[1])

    def to_network(self, network: Span) -> frozenset[Way]:
        """Return the ways to all of a network; there is none while nobody carries it."""
        if not self._carried.covers(network):
            return frozenset()
        written = (way for addresses, way in self._written if addresses.covers(network))
        return frozenset((*written, *self._anywhere))

    def to_internet(self) -> frozenset[Way]:
        return frozenset((*self._internet, *self._anywhere)) if self._has_exits else frozenset()


def _opened(compiled: Compiled) -> Iterator[tuple[Way, Target]]:
    for rule in compiled.rules:
        senders = rule.sources.senders
        for opening in rule.openings:
            yield Way(senders, "", opening.protocol, opening.ports), opening.target
        for target in rule.app_targets:
            yield from ((Way(senders, name), target) for name in rule.app)
    postures = compiled.policy.default_postures
    for ssh in compiled.policy.ssh:
        named = postures if ssh.postures is None else ssh.postures
        senders = compiled.compiler.sources(ssh.sources, named).senders
        for login in ssh.logins:
            word = f"ssh as {login}" + (" after a check" if ssh.action == "check" else "")
            for who in ssh.destinations:
                yield Way(senders, word), compiled.compiler.target(who)
