"""What another policy would change: who gains and who loses the way to whom.

Two compiled policies are compared destination by destination: for each, and
for each kind of traffic, the senders before and after. Ports are cut at every
border that either policy has, so a rule that is split in two changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Machines
from gatepost.policy.document import FIRST_PORT, LAST_PORT
from gatepost.policy.intervals import bits, text_of
from gatepost.policy.ports import PREFERRED, TCP, UDP
from gatepost.policy.ways import Way, Ways

MOST = 1000  # pairs that are listed on either side
INTERNET = "the internet"
_USUAL = (TCP, UDP)  # what a rule without a protocol opens; ICMP comes with either


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    source: str
    destination: str
    what: str


@dataclass(frozen=True, slots=True)
class Changes:
    """`more_...` were left out of the lists."""

    gained: tuple[Pair, ...] = ()
    lost: tuple[Pair, ...] = ()
    more_gained: int = 0
    more_lost: int = 0


def changes(before: Compiled, after: Compiled) -> Changes:
    """Compare two policies over the same machines; what they carry may differ."""
    gained, lost = _Listing(after), _Listing(after)
    for name, was, will in _destinations(before, after):
        if was == will:
            continue
        for what, one, other in _differences(was, will):
            gained.add(name, what, other & ~one)
            lost.add(name, what, one & ~other)
    return Changes(tuple(gained.pairs), tuple(lost.pairs), gained.more, lost.more)


_WaysTo = frozenset[Way]  # one destination


def _destinations(before: Compiled, after: Compiled) -> Iterator[tuple[str, _WaysTo, _WaysTo]]:
    old, new = Ways(before), Ways(after)
    for machine in after.machines.values():
        name = machine.name or str(machine.id)
        yield name, old.to_machine(machine.id), new.to_machine(machine.id)
    carried = before.directory.carriers.keys() | after.directory.carriers.keys()
    parts = {part for network in carried for ways in (old, new) for part in ways.parts(network)}
    for part in sorted(parts):
        yield text_of(part), old.to_network(part), new.to_network(part)
    yield INTERNET, old.to_internet(), new.to_internet()


class _Listing:
    """Pairs up to a limit; the rest is only counted."""

    def __init__(self, compiled: Compiled) -> None:
        self._machines = compiled.machines
        self.pairs: list[Pair] = []
        self.more = 0

    def add(self, destination: str, what: str, senders: Machines) -> None:
        room = MOST - len(self.pairs)
        for sender in islice(bits(senders), room):
            source = self._machines[sender].name or str(sender)
            self.pairs.append(Pair(source, destination, what))
        self.more += max(0, senders.bit_count() - room)


def _differences(was: _WaysTo, will: _WaysTo) -> Iterator[tuple[str, Machines, Machines]]:
    """Yield what differs at one destination: the word for it, who could, and who can then."""
    touched = was ^ will
    for word in sorted({way.word for way in touched if way.word}):
        one, other = (_joined(w for w in ways if w.word == word) for ways in (was, will))
        if one != other:
            yield word, one, other
    found: dict[_Part, list[int]] = {}
    for protocol in sorted({p for way in touched for p in _protocols(way)}):
        for part in _parts(protocol, was, will):
            found.setdefault(part, []).append(protocol)
    for (first, last, one, other), protocols in found.items():
        yield _word(protocols, first, last), one, other


_Part = tuple[int, int, Machines, Machines]  # first and last port, before, after


def _parts(protocol: int, was: _WaysTo, will: _WaysTo) -> Iterator[_Part]:
    """Yield where a protocol differs; neighbours are joined if they differ alike."""
    sides = [[w for w in ways if protocol in _protocols(w)] for ways in (was, will)]
    borders = {e for side in sides for w in side for p in w.ports for e in (p.first, p.last + 1)}
    cuts = sorted(borders)
    before, after = (_by_cut(side, cuts) for side in sides)
    joined: _Part | None = None
    for first, end, one, other in zip(cuts, cuts[1:], before, after, strict=False):
        if joined and joined[1] + 1 == first and joined[2:] == (one, other):
            joined = (joined[0], end - 1, one, other)
            continue
        if joined and joined[2] != joined[3]:
            yield joined
        joined = (first, end - 1, one, other)
    if joined and joined[2] != joined[3]:
        yield joined


def _by_cut(ways: list[Way], cuts: list[int]) -> list[Machines]:
    """Return who may send to the ports from each cut on."""
    senders = [0] * len(cuts)
    for way in ways:
        for ports in way.ports:
            start, end = bisect_left(cuts, ports.first), bisect_left(cuts, ports.last + 1)
            for place in range(start, end):
                senders[place] |= way.senders
    return senders


def _joined(ways: Iterable[Way]) -> Machines:
    found = 0
    for way in ways:
        found |= way.senders
    return found


def _protocols(way: Way) -> tuple[int, ...]:
    if way.word:
        return ()
    return _USUAL if way.protocol is None else (way.protocol,)


def _word(protocols: list[int], first: int, last: int) -> str:
    ports = str(first) if first == last else f"{first}-{last}"
    ports = "*" if (first, last) == (FIRST_PORT, LAST_PORT) else ports
    if protocols == list(_USUAL):
        return ports
    return ",".join(f"{PREFERRED.get(p, str(p))}:{ports}" for p in protocols)
