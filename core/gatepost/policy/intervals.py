"""Sets of addresses as sorted, disjoint intervals of integers.

Both families lie on one line, so that a set needs no two of everything:

    0 .. 2^32-1                IPv4
    2^32 .. 2^32+2^128-1       IPv6
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.netmap import IPAddress, IPNetwork

Span = tuple[int, int]  # first and last, both included

_IPV6 = 1 << 32  # where IPv6 begins on the line
_DENSE = 8  # more than one bit in so many are found faster digit by digit
_END = _IPV6 + (1 << 128) - 1


def number_of(address: IPAddress) -> int:
    """Return where an address lies on the line."""
    return int(address) if isinstance(address, IPv4Address) else _IPV6 + int(address)


def address_of(number: int) -> IPAddress:
    """Return the address that lies there."""
    return IPv4Address(number) if number < _IPV6 else IPv6Address(number - _IPV6)


def span_of(network: IPNetwork) -> Span:
    first = number_of(network.network_address)
    return first, first + network.num_addresses - 1


@dataclass(frozen=True, slots=True)
class Intervals:
    """Immutable. `firsts[i]` to `lasts[i]` are in the set; no two of them touch."""

    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Intervals:
        """Return the union of spans in any order."""
        firsts: list[int] = []
        lasts: list[int] = []
        for first, last in sorted(spans):
            if lasts and first <= lasts[-1] + (first != _IPV6):  # families do not touch
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        return cls(tuple(firsts), tuple(lasts))

    def __bool__(self) -> bool:
        return bool(self.firsts)

    def __iter__(self) -> Iterator[Span]:
        return iter(zip(self.firsts, self.lasts, strict=True))

    def __contains__(self, number: int) -> bool:
        return self.meets((number, number))

    def meets(self, span: Span) -> bool:
        """Say whether the set has an address in common with a span."""
        i = bisect_left(self.lasts, span[0])
        return i < len(self.firsts) and self.firsts[i] <= span[1]

    def within(self, span: Span) -> Iterator[Span]:
        """Yield the intervals that have an address in common with a span, as they are."""
        start, stop = bisect_left(self.lasts, span[0]), bisect_right(self.firsts, span[1])
        yield from zip(self.firsts[start:stop], self.lasts[start:stop], strict=True)

    def covers(self, span: Span) -> bool:
        """Say whether all addresses of a span are in the set."""
        i = bisect_left(self.lasts, span[1])
        return i < len(self.firsts) and self.firsts[i] <= span[0]

    def union(self, *others: Intervals) -> Intervals:
        return Intervals.of(span for part in (self, *others) for span in part)

    def without(self, other: Intervals) -> Intervals:
        """Return the part of this set that is not in the other."""
        left: list[Span] = []
        for first, last in self:
            begin = first
            start = bisect_left(other.lasts, first)
            stop = bisect_right(other.firsts, last)
            for hole in range(start, stop):
                if other.firsts[hole] > begin:
                    left.append((begin, other.firsts[hole] - 1))
                begin = other.lasts[hole] + 1
            if begin <= last:
                left.append((begin, last))
        return Intervals.of(left)


NO_ADDRESSES = Intervals()
EVERYWHERE = Intervals.of([(0, _IPV6 - 1), (_IPV6, _END)])


def text_of(span: Span) -> str:
    """Return a span as filters write it: an address, a network, or "first-last"."""
    (first, last), size = span, span[1] - span[0] + 1
    if first == last:
        return _text(first)
    start, width = (first, 32) if last < _IPV6 else (first - _IPV6, 128)
    if start < 0 or size & (size - 1) or start % size:
        return f"{_text(first)}-{_text(last)}"
    return f"{_text(first)}/{width + 1 - size.bit_length()}"


def _text(number: int) -> str:
    """Write an IPv4 address without an object for it: a filter may name 10,000 networks."""
    if number < _IPV6:
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return str(IPv6Address(number - _IPV6))


def bits(members: int) -> Iterable[int]:
    """Return the positions of the ones, lowest first."""
    if members.bit_count() * _DENSE > members.bit_length():
        text = bin(members)[:1:-1]
        return [position for position, digit in enumerate(text) if digit == "1"]
    return _sparse_bits(members)


def _sparse_bits(members: int) -> Iterator[int]:
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1
        members ^= lowest


def bits_of(positions: Iterable[int]) -> int:
    """Return the integer that has a one at each of these positions."""
    found = 0
    for position in positions:
        found |= 1 << position
    return found
