"""From rules to tables: who may reach what, in lookups whose cost does not grow with the rules.

Rules overlap in every way; a kernel's interval map must not. So the rules are
cut up: first the sources into ranges that the same rules speak about, then, for
each such group, its destinations into ranges that allow the same services. Each
packet then needs three lookups: source -> targets, destination -> services,
port. Equal targets and equal services exist once, so a thousand sources with the
same rights cost a thousand map elements and one table.

Everything is in the order of addresses: the order in which rules come does not
show in the result. Source of the meaning: protocol document 6.1.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gatepost.model.netmap import AddressRange, FilterRule, PortRange

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58  # IP protocol numbers
DEFAULT_PROTOCOLS = (ICMP, TCP, UDP, ICMP6)
LAST_PROTOCOL = 255

T = TypeVar("T", bound=Hashable)
Span = tuple[int, int]  # first and last, both included


@dataclass(frozen=True, slots=True, order=True)
class Services:
    """What one source may use at one destination. An ICMP echo request always may come too.

    `whole` are protocols allowed with every port; `tcp` and `udp` are spans of
    ports, apart and in order. All are sorted and without repetition.
    """

    whole: tuple[int, ...] = ()
    tcp: tuple[Span, ...] = ()
    udp: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """The tables of one IP version; addresses are integers, spans are apart and in order.

    `sources`: (first, last, index into `targets`). A target: (first, last, index
    into `services`). What is in no table may not come in.
    """

    sources: tuple[tuple[int, int, int], ...]
    targets: tuple[tuple[tuple[int, int, int], ...], ...]
    services: tuple[Services, ...]


class _Numbered(Generic[T]):
    """Gives equal things one number, in the order in which they first appear."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}

    def number(self, thing: T) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def values(self) -> tuple[T, ...]:
        return tuple(self._numbers)


# What a rule says about one destination: span, protocols, ports.
_Grant = tuple[int, int, tuple[int, ...], int, int]


def admission(rules: Iterable[FilterRule], version: int) -> Admission:
    """Return the tables for IPv4 or IPv6 (`version` 4 or 6)."""
    grants_of: dict[tuple[Span, ...], set[_Grant]] = {}
    for rule in rules:
        sources = join(span for r in rule.sources if (span := _span(r, version)))
        grants = {
            (*span, rule.protocols, ports.first, ports.last)
            for r, ports in rule.destinations
            if (span := _span(r, version))
        }
        if sources and grants:
            grants_of.setdefault(sources, set()).update(grants)
    groups = sorted(grants_of.items())
    targets = _Numbered[tuple[tuple[int, int, int], ...]]()
    services = _Numbered[Services]()
    if len(groups) == 1:  # as with the usual policy: 10,000 sources that may all do the same
        ((sources, grants),) = groups
        number = targets.number(_target(grants, services))
        alone = tuple((first, last, number) for first, last in sources)
        return Admission(alone, targets.values(), services.values())
    target_of: dict[frozenset[int], int] = {}
    table: list[tuple[int, int, int]] = []
    spans = [(first, last, n) for n, (sources, _) in enumerate(groups) for first, last in sources]
    for first, last, members in partition(spans):
        if members not in target_of:
            grants = set[_Grant]().union(*(groups[n][1] for n in members))
            target_of[members] = targets.number(_target(grants, services))
        _append(table, first, last, target_of[members])
    return Admission(tuple(table), targets.values(), services.values())


def _target(grants: set[_Grant], services: _Numbered[Services]) -> tuple[tuple[int, int, int], ...]:
    ordered = sorted(grants)
    spans = [(grant[0], grant[1], n) for n, grant in enumerate(ordered)]
    table: list[tuple[int, int, int]] = []
    for first, last, members in partition(spans):
        number = services.number(_services(ordered[n] for n in members))
        _append(table, first, last, number)
    return tuple(table)


def _services(grants: Iterable[_Grant]) -> Services:
    whole: set[int] = set()
    ports: dict[int, list[Span]] = {TCP: [], UDP: []}
    for _, _, protocols, first, last in grants:
        any_port = PortRange(first, last).is_any
        for protocol in protocols or DEFAULT_PROTOCOLS:
            if any_port or protocol in {ICMP, ICMP6}:
                if 0 <= protocol <= LAST_PROTOCOL:
                    whole.add(protocol)
            elif protocol in ports:
                ports[protocol].append((first, last))
    tcp, udp = (() if p in whole else join(spans) for p, spans in ports.items())
    return Services(tuple(sorted(whole)), tcp, udp)


def _append(table: list[tuple[int, int, int]], first: int, last: int, value: int) -> None:
    """Add a span at the end; make one of two that touch and mean the same."""
    if table and table[-1][1] + 1 == first and table[-1][2] == value:
        table[-1] = (table[-1][0], last, value)
    else:
        table.append((first, last, value))


def _span(addresses: AddressRange, version: int) -> Span | None:
    """Return a range of this IP version; None for one of another, or that ends before it begins."""
    start, end = addresses.first, addresses.last
    if start.version != version or end.version != version:
        return None
    first, last = int(start), int(end)
    return (first, last) if first <= last else None


def join(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same numbers as spans that are sorted, apart and do not touch."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if first > last:
            continue
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def subtract(spans: Iterable[Span], holes: Iterable[Span]) -> tuple[Span, ...]:
    """Return what is in `spans` and in none of `holes`."""
    cut, done = join(holes), 0
    rest: list[Span] = []
    for first, last in join(spans):
        while done < len(cut) and cut[done][1] < first:
            done += 1
        start, place = first, done
        while place < len(cut) and cut[place][0] <= last:
            if cut[place][0] > start:
                rest.append((start, cut[place][0] - 1))
            start = cut[place][1] + 1
            place += 1
        if start <= last:
            rest.append((start, last))
    return tuple(rest)


def partition(spans: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, frozenset[int]]]:
    """Cut overlapping spans (first, last, owner) into spans with the set of their owners.

    The result is in order, without overlap and without the gaps. One owner's
    own spans must not overlap.
    """
    if len({owner for _, _, owner in spans}) == 1:  # 10,000 sources of one rule
        members = frozenset((spans[0][2],))
        return [(first, last, members) for first, last, _ in sorted(spans)]
    opens: dict[int, list[int]] = {}
    closes: dict[int, list[int]] = {}
    for first, last, owner in spans:
        opens.setdefault(first, []).append(owner)
        closes.setdefault(last + 1, []).append(owner)
    result: list[tuple[int, int, frozenset[int]]] = []
    active: set[int] = set()
    start = 0
    for point in sorted(opens.keys() | closes.keys()):
        if active:
            result.append((start, point - 1, frozenset(active)))
        active.difference_update(closes.get(point, ()))
        active.update(opens.get(point, ()))
        start = point
    return result
