"""The tables say the same as the rules they were made from, for every packet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from gatepost.engine.admission import (
    ICMP,
    ICMP6,
    TCP,
    UDP,
    Admission,
    Services,
    Span,
    admission,
    join,
    partition,
    subtract,
)
from gatepost.model.netmap import AddressRange, FilterRule, PortRange
from gatepost.testing.makers import make_range, make_rule

BASE = int(IPv4Address("10.0.0.0"))
SCTP = 132


def make_addresses(first: int, last: int) -> AddressRange:
    return AddressRange(IPv4Address(BASE + first), IPv4Address(BASE + last))


small = st.integers(0, 12)
ranges = st.tuples(small, small).map(lambda p: make_addresses(*sorted(p)))
ports = st.one_of(
    st.just(PortRange()), st.tuples(small, small).map(lambda p: PortRange(*sorted(p)))
)
rules = st.builds(
    FilterRule,
    sources=st.lists(ranges, min_size=1, max_size=3).map(tuple),
    destinations=st.lists(st.tuples(ranges, ports), min_size=1, max_size=3).map(tuple),
    protocols=st.lists(st.sampled_from([ICMP, TCP, UDP, ICMP6, SCTP, 47])).map(tuple),
)


def allows(rule: FilterRule, source: int, target: int, protocol: int, port: int) -> bool:
    """Say what one rule means, in the words of protocol document 6.1."""
    if protocol not in (rule.protocols or (ICMP, TCP, UDP, ICMP6)):
        return False
    if not any(int(r.first) <= source <= int(r.last) for r in rule.sources):
        return False
    for place, allowed in rule.destinations:
        inside = int(place.first) <= target <= int(place.last)
        portless = protocol in {ICMP, ICMP6}
        with_port = protocol in {TCP, UDP} and allowed.first <= port <= allowed.last
        if inside and (portless or with_port or allowed.is_any):
            return True
    return False


def looked_up(tables: Admission, source: int, target: int) -> Services | None:
    """Walk the tables as the kernel does."""
    targets = find(tables.sources, source)
    if targets is None:
        return None
    services = find(tables.targets[targets], target)
    return None if services is None else tables.services[services]


def find(table: Sequence[tuple[int, int, int]], value: int) -> int | None:
    found = [number for first, last, number in table if first <= value <= last]
    assert len(found) <= 1
    return found[0] if found else None


def use(services: Services | None, protocol: int, port: int) -> bool:
    if services is None:
        return False
    spans = services.tcp if protocol == TCP else services.udp if protocol == UDP else ()
    return protocol in services.whole or any(a <= port <= b for a, b in spans)


@given(st.lists(rules, max_size=6), small, small, small)
def test_a_packet_is_let_in_exactly_when_a_rule_says_so(
    wanted: list[FilterRule], source: int, target: int, port: int
) -> None:
    tables = admission(wanted, 4)
    services = looked_up(tables, BASE + source, BASE + target)
    for protocol in (ICMP, TCP, UDP, ICMP6, SCTP, 47, 0):
        expected = any(allows(r, BASE + source, BASE + target, protocol, port) for r in wanted)

        assert use(services, protocol, port) == expected


@given(st.lists(rules, max_size=6).flatmap(lambda w: st.tuples(st.just(w), st.permutations(w))))
def test_the_order_and_repetition_of_rules_do_not_show(
    both: tuple[list[FilterRule], list[FilterRule]],
) -> None:
    wanted, shuffled = both
    turned = [
        replace(r, sources=r.sources[::-1], destinations=r.destinations[::-1])
        for r in [*shuffled, *wanted[:2]]
    ]

    assert admission(turned, 4) == admission(wanted, 4)


def test_equal_rights_are_written_once() -> None:
    many = [make_rule(f"100.64.0.{n}/32", "10.0.0.0/8", 22, 22) for n in range(1, 200, 2)]
    tables = admission(many, 4)

    assert (len(tables.sources), len(tables.targets), len(tables.services)) == (100, 1, 1)


def test_a_rule_of_one_version_says_nothing_about_the_other() -> None:
    tables = admission([make_rule("0.0.0.0/0", "0.0.0.0/0")], 6)

    assert tables == Admission((), (), ())


def test_a_range_that_ends_before_it_begins_or_mixes_versions_lets_nobody_in() -> None:
    backwards = make_addresses(9, 1)
    mixed = AddressRange(IPv4Address(1), IPv6Address(2))
    good = make_range("10.0.0.0/8")
    odd = [
        FilterRule(sources=(one,), destinations=((other, PortRange()),))
        for one, other in ((backwards, good), (good, backwards), (mixed, good), (good, mixed))
    ]

    assert admission(odd, 4) == admission(odd, 6) == Admission((), (), ())


def test_the_last_address_of_all_is_inside() -> None:
    tables = admission([make_rule("::/0", "::/0")], 6)

    assert tables.sources == ((0, 2**128 - 1, 0),)


def test_protocol_numbers_that_do_not_exist_are_ignored() -> None:
    rule = replace(make_rule("10.0.0.0/8", "10.0.0.0/8"), protocols=(-1, 256, 6))

    assert admission([rule], 4).services == (Services(whole=(6,)),)


spans = st.lists(st.tuples(small, small).map(lambda p: (min(p), max(p))), max_size=6)


@given(spans, spans)
def test_spans_are_sets_of_numbers(one: list[Span], other: list[Span]) -> None:
    def numbers(of: Sequence[Span]) -> set[int]:
        return {n for first, last in of for n in range(first, last + 1)}

    assert numbers(join(one)) == numbers(one)
    assert numbers(subtract(one, other)) == numbers(one) - numbers(other)
    for (_, last), (first, _) in zip(join(one), join(one)[1:], strict=False):
        assert last + 1 < first


@given(spans)
def test_a_partition_names_all_owners_of_each_number(all_spans: list[Span]) -> None:
    parts = partition([(first, last, n) for n, (first, last) in enumerate(all_spans)])
    for number in range(13):
        owners = {n for n, (first, last) in enumerate(all_spans) if first <= number <= last}
        named = [members for first, last, members in parts if first <= number <= last]

        assert named == ([frozenset(owners)] if owners else [])


def test_ten_thousand_rules_are_compiled_within_a_second() -> None:
    many = [
        make_rule(f"100.64.{n // 250}.{n % 250}/32", "10.1.0.0/16", port, port)
        for n in range(1000)
        for port in range(1, 11)
    ]
    start = time.process_time()
    tables = admission(many, 4)

    assert time.process_time() - start < 1.0
    assert len(tables.sources) == 4  # neighbours with equal rights are one span
