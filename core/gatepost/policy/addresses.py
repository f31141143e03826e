"""The addresses of machines as filters write them. Remembers what it has written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gatepost.model.netmap import MESH_V4
from gatepost.policy.directory import Machines
from gatepost.policy.intervals import Intervals, bits, number_of, span_of, text_of
from gatepost.policy.inventory import Machine
from gatepost.policy.rules import Sources


class Addresses:
    """`everything` is how `*` is written. Some machines have no IPv4."""

    def __init__(
        self,
        machines: Mapping[int, Machine],
        everything: tuple[str, ...],
        without_ipv4: Machines = 0,
    ) -> None:
        self.everything = everything
        self._machines = machines
        self._without_ipv4 = without_ipv4
        self._lists: dict[int, tuple[Sources, tuple[str, ...]]] = {}
        self._texts: dict[int, tuple[str, ...]] = {}

    def take_over(
        self, before: Addresses, changed: Iterable[int], sources: Iterable[Sources]
    ) -> None:
        """Keep what was written before, but for these machines, and of these sources only."""
        self._texts = dict(before._texts)
        for machine_id in changed:
            self._texts.pop(machine_id, None)
        known = before._lists
        self._lists = {id(s): known[id(s)] for s in sources if id(s) in known}

    def machine(self, machine_id: int) -> Machine:
        return self._machines[machine_id]

    def of(self, machine_id: int) -> tuple[str, ...]:
        found = self._texts.get(machine_id)
        if found is None:
            own = self._machines[machine_id].addresses
            has_ipv4 = not self._without_ipv4 >> machine_id & 1
            found = tuple(str(a) for a in own if has_ipv4 or a not in MESH_V4)
            self._texts[machine_id] = found
        return found

    def of_all(self, machines: Machines) -> Iterator[str]:
        for machine_id in bits(machines):
            yield from self.of(machine_id)

    def of_sources(self, sources: Sources) -> tuple[str, ...]:
        """Return the sources as filters list them, sorted."""
        found = self._lists.get(id(sources))
        if found is None:
            texts = tuple(sorted({*sources.texts, *self.of_all(sources.named)}))
            found = sources, texts  # kept together, so that the id stays theirs
            self._lists[id(sources)] = found
        return found[1]

    def within(self, machine_id: int, addresses: Intervals) -> tuple[str, ...]:
        """Return the machine's own addresses that are in a set."""
        own = self._machines[machine_id].addresses
        inside = {str(a) for a in own if number_of(a) in addresses}
        return tuple(a for a in self.of(machine_id) if a in inside)

    def behind(self, machine_id: int, addresses: Intervals) -> Iterator[str]:
        """Yield the parts of a set that meet a subnet of the machine, as they are written."""
        routes = [span_of(r) for r in self._machines[machine_id].routes]
        for first, last in addresses:
            if any(first <= end and begin <= last for begin, end in routes):
                yield text_of((first, last))
