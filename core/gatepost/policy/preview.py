"""What another policy would change: who gains and who loses the way to whom.

Two compiled policies are compared destination by destination: for each, and
for each kind of traffic, the senders before and after. Ports are cut at every
border that either policy has, so a rule that is split in two changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Machines
from gatepost.policy.document import FIRST_PORT, LAST_PORT, Ports
from gatepost.policy.intervals import bits, text_of
from gatepost.policy.ports import PREFERRED, TCP, UDP
from gatepost.policy.rules import Kind, Sources, Target

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


@dataclass(frozen=True, slots=True)
class _Way:
    """One opening of a rule: `protocol` and `ports`, or a word such as a capability."""

    sources: Sources
    target: Target
    word: str = ""
    protocol: int | None = None
    ports: tuple[Ports, ...] = ()


def changes(before: Compiled, after: Compiled) -> Changes:
    """Compare two policies over one inventory."""
    gained, lost = _Listing(after), _Listing(after)
    old, new = tuple(_ways(before)), tuple(_ways(after))
    for name, here in _destinations(after):
        was, will = _senders(old, here, before), _senders(new, here, after)
        for what, one, other in _differences(was, will):
            gained.add(name, what, other & ~one)
            lost.add(name, what, one & ~other)
    return Changes(tuple(gained.pairs), tuple(lost.pairs), gained.more, lost.more)


class _Listing:
    """Pairs up to a limit; the rest is only counted."""

    def __init__(self, compiled: Compiled) -> None:
        self._machines = compiled.machines
        self.pairs: list[Pair] = []
        self.more = 0

    def add(self, destination: str, what: str, senders: Machines) -> None:
        for sender in bits(senders):
            if len(self.pairs) < MOST:
                source = self._machines[sender].name or str(sender)
                self.pairs.append(Pair(source, destination, what))
            else:
                self.more += 1


def _ways(compiled: Compiled) -> Iterator[_Way]:
    for rule in compiled.rules:
        for opening in rule.openings:
            yield _Way(rule.sources, opening.target, "", opening.protocol, opening.ports)
        for target in rule.app_targets:
            yield from (_Way(rule.sources, target, name) for name in rule.app)
    postures = compiled.policy.default_postures
    for ssh in compiled.policy.ssh:
        named = postures if ssh.postures is None else ssh.postures
        sources = compiled.compiler.sources(ssh.sources, named)
        for login in ssh.logins:
            word = f"ssh as {login}" + (" after a check" if ssh.action == "check" else "")
            for who in ssh.destinations:
                yield _Way(sources, compiled.compiler.target(who), word)


@dataclass(frozen=True, slots=True)
class _Here:
    """A destination: a machine (its bit), a network behind machines, or the internet."""

    machine: Machines = 0
    network: str = ""


def _destinations(compiled: Compiled) -> Iterator[tuple[str, _Here]]:
    for machine in compiled.machines.values():
        yield machine.name or str(machine.id), _Here(machine=1 << machine.id)
    for span in compiled.directory.carriers:
        yield text_of(span), _Here(network=text_of(span))
    yield INTERNET, _Here(network=INTERNET)


_Ways = list[tuple[_Way, Machines]]  # the ways to one destination, with who may go there


def _senders(ways: Iterable[_Way], here: _Here, compiled: Compiled) -> _Ways:
    found: _Ways = []
    for way in ways:
        senders = way.sources.senders & ~here.machine
        if way.target.kind is Kind.SELF:
            senders &= _family(here.machine, compiled)
        elif not _leads(way.target, here):
            continue
        if senders:
            found.append((way, senders))
    return found


def _family(machine: Machines, compiled: Compiled) -> Machines:
    for own in compiled.directory.by_member.values():
        if own & machine:
            return own
    return 0


def _leads(target: Target, here: _Here) -> bool:
    if here.machine:
        return target.kind is not Kind.INTERNET and bool(target.owners & here.machine)
    if target.kind is Kind.INTERNET or here.network == INTERNET:
        return target.kind in {Kind.INTERNET, Kind.ANYTHING} and here.network == INTERNET
    return target.kind is Kind.ANYTHING or here.network in target.texts


def _differences(was: _Ways, will: _Ways) -> Iterator[tuple[str, Machines, Machines]]:
    """Yield what differs at one destination: the word for it, who could, and who can then."""
    for word in sorted({way.word for way, _ in (*was, *will) if way.word}):
        one, other = (_joined(m for w, m in ways if w.word == word) for ways in (was, will))
        if one != other:
            yield word, one, other
    found: dict[tuple[int, int, Machines, Machines], list[int]] = {}
    for protocol in sorted({p for way, _ in (*was, *will) for p in _protocols(way)}):
        for part in _parts(protocol, was, will):
            found.setdefault(part, []).append(protocol)
    for (first, last, one, other), protocols in found.items():
        yield _word(protocols, first, last), one, other


def _parts(protocol: int, was: _Ways, will: _Ways) -> Iterator[tuple[int, int, Machines, Machines]]:
    """Yield (first port, last port, before, after) where a protocol differs; joined if equal."""
    sides = [[(w, m) for w, m in ways if protocol in _protocols(w)] for ways in (was, will)]
    borders = {e for side in sides for w, _ in side for p in w.ports for e in (p.first, p.last + 1)}
    cuts = sorted(borders)
    pending: tuple[int, int, Machines, Machines] | None = None
    for first, after in pairwise(cuts):
        one, other = (_joined(m for w, m in side if _opens(w, first)) for side in sides)
        if pending and pending[1] + 1 == first and pending[2:] == (one, other):
            pending = (pending[0], after - 1, one, other)
            continue
        if pending and pending[2] != pending[3]:
            yield pending
        pending = (first, after - 1, one, other)
    if pending and pending[2] != pending[3]:
        yield pending


def _joined(senders: Iterable[Machines]) -> Machines:
    found = 0
    for machines in senders:
        found |= machines
    return found


def _opens(way: _Way, port: int) -> bool:
    return any(p.first <= port <= p.last for p in way.ports)


def _protocols(way: _Way) -> tuple[int, ...]:
    if way.word:
        return ()
    return _USUAL if way.protocol is None else (way.protocol,)


def _word(protocols: list[int], first: int, last: int) -> str:
    ports = str(first) if first == last else f"{first}-{last}"
    ports = "*" if (first, last) == (FIRST_PORT, LAST_PORT) else ports
    if protocols == list(_USUAL):
        return ports
    return ",".join(f"{PREFERRED.get(p, str(p))}:{ports}" for p in protocols)
