"""A policy compiled against an inventory: what every machine is told, made when asked for.

`Compiled` is a snapshot. `after` makes the next one from it when machines have
changed, and takes over whatever they do not touch:

- a rule is looked up again, but stays the same object if nobody it is about changed;
- a filter stays if the rules that concern its machine stay;
- being peers is mutual, so one changed machine changes one bit of the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gatepost.policy.addresses import Addresses
from gatepost.policy.attributes import Attributes
from gatepost.policy.compile_rules import RuleCompiler
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy
from gatepost.policy.expand import Expander
from gatepost.policy.filters import COMPANIONS, Filter, FilterMaker
from gatepost.policy.intervals import Span, bits, bits_of
from gatepost.policy.inventory import Inventory, Machine
from gatepost.policy.rules import Kind, Rule
from gatepost.policy.selectors import Everything
from gatepost.policy.ssh import Json, SshRules
from gatepost.policy.visibility import (
    NOWHERE,
    Reach,
    Visibility,
    internet,
    peers_of,
    subnets,
    visibility,
)
from gatepost.wire.netmap import CapMap

_ALL: Span = (0, 0)  # in place of a subnet: the internet
_UNIFORM = frozenset({Kind.WRITTEN, Kind.ANYTHING, Kind.INTERNET})


@dataclass(frozen=True, slots=True)
class _Concern:
    """A rule, whom it concerns, and whether all of those get the same of it."""

    rule: Rule
    machines: Machines
    is_uniform: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one machine knows of the others.

    `subnets` are those that it may use: freely (None), or through certain
    machines only; `exits` are the exit nodes that it may use. `filter_key` is
    equal for machines with equal filters.
    """

    peers: Machines = 0
    subnets: tuple[tuple[Span, Machines | None], ...] = ()
    exits: Machines = 0
    filter: Filter = field(default_factory=dict[str, tuple[object, ...]], compare=False)
    filter_key: Hashable = ()

    def sees(self, machine_id: int) -> bool:
        return bool(self.peers >> machine_id & 1)


class Compiled:
    """Immutable to its users; inside it remembers what it has made."""

    def __init__(
        self,
        policy: Policy,
        directory: Directory,
        *,
        before: Compiled | None = None,
        changed: frozenset[int] = frozenset(),
    ) -> None:
        """Use `of` and `after` instead."""
        self.policy = policy
        self.directory = directory
        self.expander = Expander(policy, directory)
        self.compiler = RuleCompiler(policy, directory, self.expander)
        self.attributes = Attributes(policy, directory, self.expander)
        made = self.compiler.rules()
        self.rules = made if before is None else _kept(made, before.rules)
        self._concerns = tuple(_concern(r, directory) for r in self.rules)
        self.addresses = Addresses(
            directory.inventory.machines,
            self.expander.expand(Everything()).texts,
            self.attributes.without_ipv4,
        )
        self.ssh = SshRules(policy, directory, self.compiler, self.addresses)
        self._maker = FilterMaker(self.addresses, directory.by_member)
        self._views: dict[int, View] = {}
        self._filters: dict[Hashable, Filter] = {}
        if before is None or not self._continues(before, changed):
            self.visibility = visibility(self.rules, directory)
        else:
            self.visibility = self._next_visibility(before, changed)
            self._views = self._next_views(before, changed)

    @classmethod
    def of(cls, policy: Policy, inventory: Inventory) -> Compiled:
        """Compile everything."""
        return cls(policy, Directory.of(inventory))

    def after(self, inventory: Inventory, changed: Iterable[int]) -> Compiled:
        """Return what holds in an inventory in which only these machines differ from this one."""
        ids = frozenset(changed)
        directory = self.directory.after(inventory, ids)
        if inventory.members is not self.directory.inventory.members:
            return Compiled(self.policy, directory)
        return Compiled(self.policy, directory, before=self, changed=ids)

    @property
    def machines(self) -> Mapping[int, Machine]:
        return self.directory.inventory.machines

    def view(self, machine_id: int) -> View:
        """Return what a machine sees and lets in."""
        found = self._views.get(machine_id)
        if found is None:
            found = self._view(machine_id)
            self._views[machine_id] = found
        return found

    def capabilities(self, machine_id: int) -> CapMap:
        """Return the capabilities of a machine, as it sees them itself."""
        return self.attributes.of(machine_id)

    def ssh_rules(self, machine_id: int) -> tuple[Json, ...] | None:
        """Return who may sign in to a machine, first match first; None without `ssh`."""
        return self.ssh.of(machine_id) if self.policy.ssh else None

    def _view(self, machine_id: int) -> View:
        reach = self.visibility
        peers = reach.peers.get(machine_id, 0)
        open_subnets: list[tuple[Span, Machines | None]] = []
        for span, users in reach.subnets.items():
            is_free, through = users.of(machine_id)
            if is_free or through:
                open_subnets.append((span, None if is_free else through))
        key = self._filter_key(machine_id)
        return View(
            peers=peers,
            subnets=tuple(open_subnets),
            exits=self._exits(machine_id, peers),
            filter=self._filter(machine_id, key),
            filter_key=key,
        )

    def _filter_key(self, machine_id: int) -> Hashable:
        """Return what filters depend on: the rules, and unless they are uniform the machine."""
        concerns = [c for c in self._concerns if c.machines >> machine_id & 1]
        rules = tuple(id(c.rule) for c in concerns)
        if all(c.is_uniform for c in concerns):
            return rules, tuple(_openings(c.rule, machine_id) for c in concerns)
        return rules, machine_id

    def _filter(self, machine_id: int, key: Hashable) -> Filter:
        found = self._filters.get(key)
        if found is None:
            rules = [c.rule for c in self._concerns if c.machines >> machine_id & 1]
            found = self._maker.filter_of(machine_id, rules)
            self._filters[key] = found
        return found

    def _continues(self, before: Compiled, changed: frozenset[int]) -> bool:
        """Say whether nothing but the membership of the changed machines is different."""
        if self.attributes.without_ipv4 != before.attributes.without_ipv4:
            return False
        old, new = before.machines, self.machines
        return all(
            i not in old or i not in new or old[i].addresses == new[i].addresses for i in changed
        )

    def _next_visibility(self, before: Compiled, changed: frozenset[int]) -> Visibility:
        peers = dict(before.visibility.peers)
        for machine_id in changed:
            bit = 1 << machine_id
            is_here = machine_id in self.machines
            seen = peers_of(machine_id, self.rules, self.directory) if is_here else 0
            for other in bits(peers.pop(machine_id, 0) & ~seen):
                if other in peers:
                    peers[other] &= ~bit
            for other in bits(seen):
                if other in peers:
                    peers[other] |= bit
            if is_here:
                peers[machine_id] = seen
        return Visibility(
            peers=peers,
            subnets=subnets(self.rules, self.directory),
            internet=internet(self.rules),
        )

    def _next_views(self, before: Compiled, changed: frozenset[int]) -> dict[int, View]:
        """Take over the views that are the same as before."""
        touched = bits_of(changed) | self._touched_by_rules(before)
        touched |= _moved(before.visibility.subnets, self.visibility.subnets)
        touched |= _moved({_ALL: before.visibility.internet}, {_ALL: self.visibility.internet})
        if before.directory.exits != self.directory.exits:
            touched = -1
        return {
            i: self._renewed(i, view)
            for i, view in before._views.items()
            if not touched >> i & 1 and i in self.visibility.peers
        }

    def _renewed(self, machine_id: int, view: View) -> View:
        """Return the view with other peers, the same object if they are the same."""
        peers = self.visibility.peers[machine_id]
        if peers == view.peers:
            return view
        exits = self._exits(machine_id, peers)
        return replace(view, peers=peers, exits=exits)

    def _exits(self, machine_id: int, peers: Machines) -> Machines:
        is_free, through = self.visibility.internet.of(machine_id)
        return self.directory.exits & peers & (-1 if is_free else through)

    def _touched_by_rules(self, before: Compiled) -> Machines:
        touched = 0
        old = {c.rule.place_in_policy: c for c in before._concerns}
        for concern in self._concerns:
            known = old.pop(concern.rule.place_in_policy, None)
            if known is None or known.rule is not concern.rule:
                touched |= concern.machines | (known.machines if known else 0)
        for gone in old.values():
            touched |= gone.machines
        return touched


def _kept(made: tuple[Rule, ...], before: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules, those that are equal to the ones before as the same objects."""
    known = {r.place_in_policy: r for r in before}
    kept: list[Rule] = []
    for rule in made:
        old = known.get(rule.place_in_policy)
        kept.append(old if old is not None and old == rule else rule)
    return tuple(kept)


def _moved(old: Mapping[Span, Reach], new: Mapping[Span, Reach]) -> Machines:
    """Return the machines that may use a way that they might not, or the other way round."""
    moved = 0
    for span in old.keys() | new.keys():
        one, other = old.get(span, NOWHERE), new.get(span, NOWHERE)
        moved |= one.users ^ other.users
        if one.steered != other.steered:
            for steering in (*one.steered, *other.steered):
                moved |= steering.users
    return moved


def _concern(rule: Rule, directory: Directory) -> _Concern:
    machines = rule.receivers
    if rule.is_about_self:
        for own in directory.by_member.values():
            machines |= own if own & rule.sources.senders else 0
    if any(c in COMPANIONS for c in rule.app):
        machines |= rule.sources.senders
    is_uniform = not rule.app and all(o.target.kind in _UNIFORM for o in rule.openings)
    return _Concern(rule, machines, is_uniform)


def _openings(rule: Rule, machine_id: int) -> tuple[bool, ...]:
    return tuple(bool(o.target.machines >> machine_id & 1) for o in rule.openings)
