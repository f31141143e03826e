"""Sets of addresses do what sets of numbers do, for both families on one line."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.policy.intervals import (
    EVERYWHERE,
    Intervals,
    Span,
    address_of,
    bits,
    bits_of,
    number_of,
    span_of,
    text_of,
)

BOUNDARY = 1 << 32  # where IPv6 begins
LOW = BOUNDARY - 20

spans = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(
    lambda pair: _within_a_family(LOW + pair[0], LOW + pair[0] + pair[1])
)


def _within_a_family(first: int, last: int) -> Span:
    return first, min(last, BOUNDARY - 1) if first < BOUNDARY else last


def numbers(made: Intervals) -> set[int]:
    return {n for first, last in made for n in range(first, last + 1)}


def of(parts: list[Span]) -> set[int]:
    return {n for first, last in parts for n in range(first, last + 1)}


@given(st.lists(spans), st.lists(spans))
def test_union_and_difference_are_those_of_sets(one: list[Span], other: list[Span]) -> None:
    left, right = Intervals.of(one), Intervals.of(other)

    assert numbers(left) == of(one)
    assert numbers(left.union(right)) == of(one) | of(other)
    assert numbers(left.without(right)) == of(one) - of(other)


@given(st.lists(spans), spans)
def test_a_span_is_met_if_an_address_is_in_both(parts: list[Span], span: Span) -> None:
    made = Intervals.of(parts)

    assert made.meets(span) == bool(of(parts) & of([span]))
    assert (span[0] in made) == (span[0] in of(parts))


@given(st.lists(spans), spans)
def test_a_span_is_covered_if_all_its_addresses_are_there(parts: list[Span], span: Span) -> None:
    made, wanted = Intervals.of(parts), of([span])
    found = {n for first, last in made.within(span) for n in range(first, last + 1)}

    assert made.covers(span) == (wanted <= of(parts))
    assert found & wanted == of(parts) & wanted
    assert all(of([part]) & wanted for part in made.within(span))


@given(st.lists(spans))
def test_intervals_are_disjoint_sorted_and_of_one_family(parts: list[Span]) -> None:
    found = list(Intervals.of(parts))

    assert found == sorted(found)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all((a < BOUNDARY) == (b < BOUNDARY) for a, b in found)


@given(st.ip_addresses())
def test_every_address_has_a_number_and_comes_back(address: object) -> None:
    number = number_of(address)  # type: ignore[arg-type]  # of either family

    assert address_of(number) == address
    assert number in EVERYWHERE


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.7", "fd00::/64", "2001:db8::1", "::/0"])
def test_networks_and_addresses_are_written_as_they_were(text: str) -> None:
    assert text_of(span_of(ip_network(text))) == text


def test_what_is_no_network_is_written_as_a_range() -> None:
    span = number_of(ip_address("192.0.2.1")), number_of(ip_address("192.0.2.6"))

    assert text_of(span) == "192.0.2.1-192.0.2.6"


@given(st.sets(st.integers(0, 3000)))
def test_bits_come_back_in_order(positions: set[int]) -> None:
    assert list(bits(bits_of(positions))) == sorted(positions)
