"""Who is who: indexes over the machines and users of an inventory.

Sets of machines are integers with one bit per machine id, so that "and" and
"or" over thousands of machines are single operations.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gatepost.policy.intervals import Intervals, Span, bits_of, number_of, span_of
from gatepost.policy.inventory import NOBODY, Inventory, Machine

Machines = int  # a set: bit `id` is machine `id`


@dataclass(frozen=True, slots=True)
class Directory:
    """Immutable indexes. `numbers` is sorted: (address on the line, machine id)."""

    inventory: Inventory
    everyone: Machines = 0
    by_tag: Mapping[str, Machines] = field(default_factory=dict[str, Machines])
    by_member: Mapping[int, Machines] = field(default_factory=dict[int, Machines])
    exits: Machines = 0
    connectors: Machines = 0
    numbers: tuple[tuple[int, int], ...] = ()
    carriers: Mapping[Span, Machines] = field(default_factory=dict[Span, Machines])

    @classmethod
    def of(cls, inventory: Inventory) -> Directory:
        by_tag: dict[str, Machines] = {}
        by_member: dict[int, Machines] = {}
        carriers: dict[Span, Machines] = {}
        numbers: list[tuple[int, int]] = []
        for machine in inventory.machines.values():
            _enter(machine, by_tag, by_member, carriers)
            numbers += [(number_of(a), machine.id) for a in machine.addresses]
        return cls(
            inventory=inventory,
            everyone=bits_of(inventory.machines),
            by_tag=by_tag,
            by_member=by_member,
            exits=bits_of(m.id for m in inventory.machines.values() if m.is_exit),
            connectors=bits_of(m.id for m in inventory.machines.values() if m.is_connector),
            numbers=tuple(sorted(numbers)),
            carriers=carriers,
        )

    def after(self, inventory: Inventory, changed: Iterable[int]) -> Directory:
        """Return the directory of an inventory in which only these machines differ."""
        by_tag, by_member = dict(self.by_tag), dict(self.by_member)
        carriers, numbers = dict(self.carriers), list(self.numbers)
        everyone, exits, connectors = self.everyone, self.exits, self.connectors
        for machine_id in changed:
            bit = 1 << machine_id
            old, new = self.inventory.machines.get(machine_id), inventory.machines.get(machine_id)
            everyone, exits, connectors = everyone & ~bit, exits & ~bit, connectors & ~bit
            if old is not None:
                _leave(old, by_tag, by_member, carriers)
                for address in old.addresses:
                    del numbers[bisect_left(numbers, (number_of(address), machine_id))]
            if new is not None:
                everyone |= bit
                exits |= bit if new.is_exit else 0
                connectors |= bit if new.is_connector else 0
                _enter(new, by_tag, by_member, carriers)
                for address in new.addresses:
                    insort(numbers, (number_of(address), machine_id))
        return replace(
            self,
            inventory=inventory,
            everyone=everyone,
            by_tag=by_tag,
            by_member=by_member,
            exits=exits,
            connectors=connectors,
            numbers=tuple(numbers),
            carriers=carriers,
        )

    @property
    def personal(self) -> Machines:
        """The machines of people: owned by a user, without tags."""
        found = 0
        for machines in self.by_member.values():
            found |= machines
        return found

    @property
    def tagged(self) -> Machines:
        found = 0
        for machines in self.by_tag.values():
            found |= machines
        return found

    def of_members(self, members: Iterable[int]) -> Machines:
        found = 0
        for member in members:
            found |= self.by_member.get(member, 0)
        return found

    def at(self, addresses: Intervals) -> Machines:
        """Return the machines that have an address of their own in a set."""
        found = 0
        for first, last in addresses:
            start = bisect_left(self.numbers, (first, 0))
            stop = bisect_right(self.numbers, (last, len(self.numbers) << 64))
            found |= bits_of({i for _, i in self.numbers[start:stop]})
        return found

    def behind(self, addresses: Intervals) -> Machines:
        """Return the machines that carry a subnet with an address in a set."""
        if not addresses:
            return 0
        found = 0
        for span, machines in self.carriers.items():
            if addresses.meets(span):
                found |= machines
        return found


def _enter(
    machine: Machine,
    by_tag: dict[str, Machines],
    by_member: dict[int, Machines],
    carriers: dict[Span, Machines],
) -> None:
    bit = 1 << machine.id
    for tag in machine.tags:
        by_tag[tag] = by_tag.get(tag, 0) | bit
    if machine.member != NOBODY:
        by_member[machine.member] = by_member.get(machine.member, 0) | bit
    for route in machine.routes:
        span = span_of(route)
        carriers[span] = carriers.get(span, 0) | bit


def _leave(
    machine: Machine,
    by_tag: dict[str, Machines],
    by_member: dict[int, Machines],
    carriers: dict[Span, Machines],
) -> None:
    bit = 1 << machine.id
    for tag in machine.tags:
        by_tag[tag] = by_tag.get(tag, 0) & ~bit
    if machine.member != NOBODY:
        by_member[machine.member] = by_member.get(machine.member, 0) & ~bit
    for route in machine.routes:
        span = span_of(route)
        carriers[span] = carriers.get(span, 0) & ~bit
        if not carriers[span]:
            del carriers[span]
