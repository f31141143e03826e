"""Which rules concern which machine, and so whose filters are the same.

A filter depends on the rules that concern its machine, and on the machine
itself unless all of those open the same for everybody. What identifies a rule
is a token: comparing rules themselves would compare all their machines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace

from gatepost.policy.directory import Directory, Machines
from gatepost.policy.filters import COMPANIONS
from gatepost.policy.intervals import bits
from gatepost.policy.inventory import NOBODY
from gatepost.policy.rules import Kind, Rule

_UNIFORM = frozenset({Kind.WRITTEN, Kind.ANYTHING, Kind.INTERNET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """A rule and the machines whose filter it has a part in.

    `is_uniform`: all of them get the same of it. `is_personal`: people's machines
    get a part that only their own machines are in; `is_own`: that is all of it.
    """

    rule: Rule
    machines: Machines
    is_uniform: bool
    is_personal: bool
    is_own: bool
    token: object = field(default_factory=object)

    def following(self, before: Concern | None) -> Concern:
        """Return it with the token of before if it makes the same part of filters."""
        if before is None or not before.makes_the_same(self):
            return self
        return replace(self, token=before.token)

    def makes_the_same(self, other: Concern) -> bool:
        if self.rule is other.rule:
            return True
        one, two = self.rule, other.rule
        if not (self.is_uniform and other.is_uniform):
            return False
        return (
            one.sources.named == two.sources.named
            and one.sources.texts == two.sources.texts
            and [o.target.texts for o in one.openings] == [o.target.texts for o in two.openings]
        )

    @property
    def mark(self) -> object:
        """What identifies the part of it that does not depend on whose machines they are."""
        return self.rule.place_in_policy if self.is_own else self.token


class Concerns:
    """The rules of one compiled policy. `tokens` of rules that stay must be handed on."""

    def __init__(self, rules: Iterable[Rule], directory: Directory) -> None:
        self._directory = directory
        self._own: dict[Machines, Machines] = {}
        self._indexes: dict[int, tuple[int, ...]] = {}
        self._keys: dict[int, Hashable] = {}
        self.all = tuple(self._concern(r) for r in rules)
        self._marks = [c.mark for c in self.all]
        self._openings = [[o.target.machines for o in c.rule.openings] for c in self.all]
        self._special = frozenset(i for i, c in enumerate(self.all) if not c.is_uniform)
        self._personal = frozenset(i for i, c in enumerate(self.all) if c.is_personal)
        of_people = (c.rule.sources.senders for c in self.all if c.is_personal)
        self._senders = tuple(dict.fromkeys(of_people))

    def take_over(self, before: Concerns, changed: Machines) -> None:
        """Keep what is known of machines that neither changed nor are in other rules now."""
        known = {c.rule.place_in_policy: c for c in before.all}
        self.all = tuple(c.following(known.get(c.rule.place_in_policy)) for c in self.all)
        self._marks = [c.mark for c in self.all]
        if list(known) != [c.rule.place_in_policy for c in self.all]:
            return
        touched = changed
        if self._personal or before._personal:
            touched |= self._people_of(changed) | before._people_of(changed)
        for one, other in zip(before.all, self.all, strict=True):
            if one.rule is not other.rule:
                changed |= one.machines ^ other.machines
            if one.token is not other.token:
                touched |= one.machines | other.machines
        touched |= changed
        self._indexes, self._keys = dict(before._indexes), dict(before._keys)
        everyone = before._directory.everyone
        for machine_id in bits(changed & everyone):
            self._indexes.pop(machine_id, None)
        for machine_id in bits(touched & everyone):
            self._keys.pop(machine_id, None)

    def of(self, machine_id: int) -> tuple[int, ...]:
        """Return the positions of the rules that concern a machine."""
        found = self._indexes.get(machine_id)
        if found is None:
            found = tuple(i for i, c in enumerate(self.all) if c.machines >> machine_id & 1)
            self._indexes[machine_id] = found
        return found

    def rules(self, machine_id: int) -> list[Rule]:
        return [self.all[i].rule for i in self.of(machine_id)]

    def key(self, machine_id: int) -> Hashable:
        """Return what is equal for equal filters of one policy."""
        found = self._keys.get(machine_id)
        if found is None:
            found = self._key(machine_id)
            self._keys[machine_id] = found
        return found

    def _key(self, machine_id: int) -> Hashable:
        indexes = self.of(machine_id)
        marks = tuple(map(self._marks.__getitem__, indexes))
        if self._special.isdisjoint(indexes):
            openings = self._openings
            return marks, tuple([m >> machine_id & 1 for i in indexes for m in openings[i]])
        if self._personal.isdisjoint(indexes):
            return machine_id, marks
        own = self._directory.by_member.get(self._member(machine_id), 0)
        return machine_id, marks, tuple(own & senders for senders in self._senders)

    def _member(self, machine_id: int) -> int:
        return self._directory.inventory.machines[machine_id].member

    def _people_of(self, changed: Machines) -> Machines:
        """Return the machines of the people who own any of these."""
        machines = self._directory.inventory.machines
        here = [i for i in bits(changed & self._directory.everyone) if i in machines]
        return self._directory.of_members({machines[i].member for i in here} - {NOBODY})

    def _concern(self, rule: Rule) -> Concern:
        kinds = {t.kind for t in rule.targets}
        machines = rule.receivers
        if Kind.SELF in kinds:
            machines |= self._people(rule.sources.senders)
        if any(c in COMPANIONS for c in rule.app):
            machines |= rule.sources.senders
        return Concern(
            rule=rule,
            machines=machines,
            is_uniform=not rule.app and kinds <= _UNIFORM,
            is_personal=Kind.SELF in kinds,
            is_own=not rule.app and kinds == {Kind.SELF},
        )

    def _people(self, senders: Machines) -> Machines:
        """Return all machines of the people who have one among the senders."""
        found = self._own.get(senders)
        if found is None:
            found = 0
            for own in self._directory.by_member.values():
                found |= own if own & senders else 0
            self._own[senders] = found
        return found
