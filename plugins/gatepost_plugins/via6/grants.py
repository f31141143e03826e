"""What the policy says about a site's IPv6 prefix, said about aliases and IPv4."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from gatepost.api import AddressRange, FilterRule, PortRange, via6

_LAST_32_BITS = 0xFFFFFFFF
_ICMP, _ICMP6 = 1, 58


def grants(
    rules: Iterable[FilterRule],
    site: int,
    networks: tuple[IPv4Network, ...],
    aliases: Mapping[IPv6Address, IPv4Address],
) -> Iterator[FilterRule]:
    """Translate each rule about these networks of the site, for the peers with an alias.

    Only IPv6 senders count: what a rule grants to a peer's IPv4 address is no grant here.
    """
    for rule in rules:
        destinations = tuple(_destinations(rule, site, networks))
        if destinations and (sources := tuple(_sources(rule, aliases))):
            protocols = tuple(_ICMP if p == _ICMP6 else p for p in rule.protocols if p != _ICMP)
            if protocols or not rule.protocols:
                yield FilterRule(sources=sources, destinations=destinations, protocols=protocols)


def _destinations(
    rule: FilterRule, site: int, networks: tuple[IPv4Network, ...]
) -> Iterator[tuple[AddressRange, PortRange]]:
    for network in networks:
        prefix = via6.via_prefix(site, network)
        for granted, ports in rule.destinations:
            if not isinstance(granted.first, IPv6Address):
                continue
            first = max(int(granted.first), int(prefix.network_address))
            last = min(int(granted.last), int(prefix.broadcast_address))
            if first <= last:
                yield _range(first & _LAST_32_BITS, last & _LAST_32_BITS), ports


def _range(first: int, last: int) -> AddressRange:
    return AddressRange(IPv4Address(first), IPv4Address(last))


def _sources(
    rule: FilterRule, aliases: Mapping[IPv6Address, IPv4Address]
) -> Iterator[AddressRange]:
    spans = _joined((int(s.first), int(s.last)) for s in rule.sources if s.first.version == 6)  # noqa: PLR2004  # the version of IP
    starts = [first for first, _ in spans]
    for address, alias in aliases.items():
        at = bisect_right(starts, int(address)) - 1
        if at >= 0 and int(address) <= spans[at][1]:
            yield AddressRange(alias, alias)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the same addresses in order, without overlap."""
    joined = list[tuple[int, int]]()
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
