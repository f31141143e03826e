"""From the packet filter on the wire to the model's rules and grants.

`cap:` sources become the addresses of the peers that have the capability; a
jailed peer may only answer, so its addresses are cut out of every source. A
rule with a wrong value is left out and reported: that lets less in, never
more. Source: protocol document 6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from gatepost.errors import Malformed
from gatepost.model.netmap import (
    AddressRange,
    FilterRule,
    Grant,
    IPAddress,
    IPNetwork,
    Node,
    PortRange,
)
from gatepost.sessions.netmap_nodes import parse_address, parse_network, read_capabilities
from gatepost.wire import netmap

Filters = Mapping[str, tuple[netmap.FilterRule, ...]]

_EVERYTHING = (
    AddressRange(IPv4Address(0), IPv4Address(2**32 - 1)),
    AddressRange(IPv6Address(0), IPv6Address(2**128 - 1)),
)
_CAPABILITY = "cap:"
_PROTOCOLS = range(256)
_PORTS = range(0x10000)


class Ranges:
    """Reads addresses, and those that the filter before had, too, only once.

    Of 10,000 sources one changes: reading them all takes 50 ms, looking them up 2 ms.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[AddressRange, ...]] = {}
        self._now: dict[str, tuple[AddressRange, ...]] = {}

    def begin(self) -> None:
        """Begin another filter; what the last one did not name is forgotten."""
        self._before, self._now = self._now, {}

    def read(self, text: str) -> tuple[AddressRange, ...]:
        """Read `*`, one address, a prefix or `first-last`; raise `Malformed`."""
        found = self._now.get(text)
        if found is None:
            found = self._before.get(text) or _addresses(text)
            self._now[text] = found
        return found


def names_capabilities(filters: Filters) -> bool:
    """Say whether the rules depend on what the peers can do."""
    return any(
        source.startswith(_CAPABILITY)
        for rules in filters.values()
        for rule in rules
        for source in rule.src_ips
    )


def parse_filters(
    filters: Filters,
    peers: Collection[Node],
    jailed: Collection[Node],
    report: Callable[[str, str], None],
    ranges: Ranges | None = None,
) -> tuple[FilterRule, ...]:
    """Return the rules of all parts, in the order of the parts' names."""
    ranges = ranges or Ranges()
    cut = _holes(jailed)
    rules: list[FilterRule] = []
    for name in sorted(filters):
        for index, wire in enumerate(filters[name]):
            try:
                rule = _parse_rule(wire, peers, cut, ranges)
            except Malformed as error:
                report(f"{name}[{index}]", f"left out: {error}")
            else:
                if rule is not None:
                    rules.append(rule)
    return tuple(rules)


def parse_grants(
    filters: Filters,
    peers: Collection[Node],
    jailed: Collection[Node],
    report: Callable[[str, str], None],
    ranges: Ranges | None = None,
) -> tuple[Grant, ...]:
    """Return what nodes may do beside opening connections; a jailed peer may do nothing."""
    ranges = ranges or Ranges()
    cut = _holes(jailed)
    grants: list[Grant] = []
    for name in sorted(filters):
        for index, wire in enumerate(filters[name]):
            try:
                grants += _parse_grants(wire, peers, cut, ranges)
            except Malformed as error:
                report(f"{name}[{index}]", f"its grants are left out: {error}")
    return tuple(grants)


def _parse_grants(
    wire: netmap.FilterRule, peers: Collection[Node], cut: list[AddressRange], ranges: Ranges
) -> list[Grant]:
    if not wire.cap_grant:
        return []
    sources = [part for text in wire.src_ips for part in _sources(text, peers, ranges)]
    for hole in cut:
        sources = [rest for part in sources for rest in _without(part, hole)]
    return [
        Grant(
            sources=tuple(sources),
            destinations=tuple(part for text in grant.dsts for part in ranges.read(text)),
            capabilities=MappingProxyType(
                dict.fromkeys(grant.caps or (), ()) | dict(read_capabilities(grant.cap_map))
            ),
        )
        for grant in wire.cap_grant
    ]


def _holes(jailed: Collection[Node]) -> list[AddressRange]:
    return [_range(network) for peer in jailed for network in peer.allowed if network.prefixlen]


def _parse_rule(
    wire: netmap.FilterRule, peers: Collection[Node], cut: list[AddressRange], ranges: Ranges
) -> FilterRule | None:
    """Return None for a rule that lets nothing in, such as a grant of capabilities."""
    sources = [part for text in wire.src_ips for part in _sources(text, peers, ranges)]
    for hole in cut:
        sources = [rest for part in sources for rest in _without(part, hole)]
    destinations = [
        (part, _ports(wanted.ports))
        for wanted in wire.dst_ports or ()
        for part in ranges.read(wanted.ip)
    ]
    protocols = tuple(number for number in wire.ip_proto or () if number in _PROTOCOLS)
    if wire.ip_proto and not protocols:
        return None  # an empty list would mean the usual protocols
    if not sources or not destinations:
        return None
    return FilterRule(sources=tuple(sources), destinations=tuple(destinations), protocols=protocols)


def _sources(text: str, peers: Iterable[Node], ranges: Ranges) -> tuple[AddressRange, ...]:
    if not text.startswith(_CAPABILITY):
        return ranges.read(text)
    capability = text.removeprefix(_CAPABILITY)
    return tuple(
        AddressRange(address, address)
        for peer in peers
        if capability in peer.capabilities
        for address in peer.addresses
    )


def _addresses(text: str) -> tuple[AddressRange, ...]:
    if text == "*":
        return _EVERYTHING
    if "/" in text:
        return (_range(parse_network(text)),)
    first, dash, last = text.partition("-")
    start = parse_address(first)
    end = parse_address(last) if dash else start
    if start.version != end.version or int(start) > int(end):
        raise Malformed(f"{text!r} is not a range from a lower to a higher address")
    return (AddressRange(start, end),)


def _range(network: IPNetwork) -> AddressRange:
    return AddressRange(network.network_address, network.broadcast_address)


def _ports(wire: netmap.PortRange) -> PortRange:
    if wire.first not in _PORTS or wire.last not in _PORTS or wire.first > wire.last:
        raise Malformed(f"ports {wire.first} to {wire.last} are not a range within 0 to 65535")
    return PortRange(wire.first, wire.last)


def _without(part: AddressRange, hole: AddressRange) -> list[AddressRange]:
    """Return what is left of a range when another is cut out."""
    first, last = int(part.first), int(part.last)
    start, end = int(hole.first), int(hole.last)
    if part.first.version != hole.first.version or end < first or start > last:
        return [part]
    rest: list[AddressRange] = []
    if start > first:
        rest.append(AddressRange(part.first, _like(part.first, start - 1)))
    if end < last:
        rest.append(AddressRange(_like(part.first, end + 1), part.last))
    return rest


def _like(address: IPAddress, value: int) -> IPAddress:
    return IPv4Address(value) if address.version == 4 else IPv6Address(value)  # noqa: PLR2004  # IP version
