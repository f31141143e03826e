"""A policy compiled against an inventory: what every machine is told, made when asked for.

`Compiled` is a snapshot. `after` makes the next one from it when machines have
changed, and takes over whatever they do not touch:

- a rule is looked up again, but stays the same object if nobody it is about changed;
- a filter stays if the rules that concern its machine stay;
- being peers is mutual, so one changed machine changes one bit of the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from gatepost.policy.addresses import Addresses
from gatepost.policy.apps import connectors_of
from gatepost.policy.attributes import Attributes
from gatepost.policy.compile_rules import RuleCompiler
from gatepost.policy.concerns import Concerns
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy
from gatepost.policy.expand import Expander
from gatepost.policy.filters import Filter, FilterMaker
from gatepost.policy.intervals import Span, bits, bits_of
from gatepost.policy.inventory import Inventory, Machine
from gatepost.policy.rules import Rule
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


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one machine knows of the others.

    `subnets` are those that it may use: freely (None), or through certain
    machines only; `exits` are the exit nodes that it may use.
    """

    peers: Machines = 0
    subnets: tuple[tuple[Span, Machines | None], ...] = ()
    exits: Machines = 0

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
        if before is not None:
            self.expander.take_over(before.expander)
        self.compiler = RuleCompiler(policy, directory, self.expander)
        if before is not None:
            self.compiler.take_over(before.compiler)
        self.attributes = Attributes(policy, directory, self.expander)
        self.connectors = connectors_of(policy, directory)
        made = self.compiler.rules()
        self.rules: tuple[Rule, ...] = made if before is None else _kept(made, before.rules)
        self.concerns = Concerns(self.rules, directory)
        self.addresses = Addresses(
            directory.inventory.machines,
            self.expander.expand(Everything()).texts,
            self.attributes.without_ipv4,
        )
        self.ssh = SshRules(policy, directory, self.compiler, self.addresses)
        self._maker = FilterMaker(self.addresses, directory.by_member)
        self.views: dict[int, View] = {}
        self.stale: dict[int, View] = {}  # right but for the peers, unless touched
        self.touched: Machines = 0
        self._shared: dict[Hashable, Filter] = {}
        self.made: dict[int, tuple[Hashable, Filter]] = {}
        if before is None or not self._continues(before, changed):
            self.visibility = visibility(self.rules, directory)
        else:
            self.addresses.take_over(before.addresses, changed, (r.sources for r in self.rules))
            self.visibility = self._next_visibility(before, changed)
            self.stale = before.stale | before.views
            self.touched = before.touched | self._touched_since(before, changed)
            self.concerns.take_over(before.concerns, bits_of(changed))
            self.made = dict(before.made)
            for machine_id in changed:
                self.made.pop(machine_id, None)
                self.stale.pop(machine_id, None)

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
        """Return what a machine sees."""
        found = self.views.get(machine_id)
        if found is None:
            stale = self.stale.get(machine_id)
            if stale is None or self.touched >> machine_id & 1:
                found = self._view(machine_id)
                self.touched &= ~(1 << machine_id)
            else:
                found = self._renewed(machine_id, stale)
            self.views[machine_id] = found
        return found

    def filter_key(self, machine_id: int) -> Hashable:
        """Return what is equal for equal filters, while the policy is the same."""
        return id(self.policy), self.concerns.key(machine_id)

    def filter(self, machine_id: int) -> Filter:
        """Return what a machine lets in; machines with equal keys may get the same object."""
        key = self.concerns.key(machine_id)
        known = self.made.get(machine_id)
        if known is not None and known[0] == key:
            return known[1]
        found = self._shared.get(key)
        if found is None:
            found = self._maker.filter_of(machine_id, self.concerns.rules(machine_id))
            self._shared[key] = found
        self.made[machine_id] = key, found
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
        return View(
            peers=peers,
            subnets=tuple(open_subnets),
            exits=self._exits(machine_id, peers),
        )

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
            known = peers.pop(machine_id, 0)
            for other in bits(known & ~seen):
                if other in peers:
                    peers[other] &= ~bit
            for other in bits(seen & ~known):
                if other in peers:
                    peers[other] |= bit
            if is_here:
                peers[machine_id] = seen
        return Visibility(
            peers=peers,
            subnets=subnets(self.rules, self.directory),
            internet=internet(self.rules),
        )

    def _touched_since(self, before: Compiled, changed: frozenset[int]) -> Machines:
        """Return the machines that see more differently than by other peers."""
        touched = bits_of(changed)
        touched |= _moved(before.visibility.subnets, self.visibility.subnets)
        touched |= _moved({_ALL: before.visibility.internet}, {_ALL: self.visibility.internet})
        return touched

    def _renewed(self, machine_id: int, view: View) -> View:
        """Return the view with other peers, the same object if they are the same."""
        peers = self.visibility.peers[machine_id]
        exits = self._exits(machine_id, peers) if self.directory.exits else 0
        if peers == view.peers and exits == view.exits:
            return view
        return View(peers=peers, subnets=view.subnets, exits=exits)

    def _exits(self, machine_id: int, peers: Machines) -> Machines:
        is_free, through = self.visibility.internet.of(machine_id)
        return self.directory.exits & peers & (-1 if is_free else through)


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
