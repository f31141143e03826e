"""What a site's own answers look like from the mesh: its addresses, said as the mesh knows them.

Pure. An IPv4 address of a network that the mesh knows by another prefix becomes an A record of
that prefix if it is IPv4 (an alias), and an AAAA record if it is IPv6 (4via6). An address that
the mesh knows in IPv6 only is no A record at all: it would lead to somebody else's host.
Addresses of other networks stay as they are. Signatures are dropped, as they fit no more, and so
are HTTPS records (RFC 9460), whose hints would lead to the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdtypes.IN.A import A

from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.sessions.dns_messages import Kept, values_of

KnownPairs = Sequence[tuple[IPv4Network, IPNetwork]]  # inside, outside

_DROPPED = frozenset({dns.rdatatype.RRSIG, dns.rdatatype.HTTPS, dns.rdatatype.SVCB})


def known_as(address: IPv4Address, pairs: KnownPairs) -> tuple[IPAddress, ...] | None:
    """Return what the mesh calls a host; None if it knows the address as it is."""
    found = [
        outside[int(address) - int(inside.network_address)]
        for inside, outside in pairs
        if address in inside
    ]
    return tuple(found) if found else None


def seen_from_mesh(kept: Kept, pairs: KnownPairs, four: Kept | None = None) -> Kept:
    """Return an answer with the mesh's addresses.

    `four` is the answer to the same question about A records; what stands for those in IPv6 is
    added. So it is given with a question about AAAA records, and only then.
    """
    answer = [r for rrset in kept.answer for r in _rewritten(rrset, pairs)]
    if four is None or not (more := list(_in_ipv6(four.answer, pairs))):
        return replace(kept, answer=tuple(answer))
    names = {r.name for r in answer if r.rdtype == dns.rdatatype.CNAME}
    links = [r for r in four.answer if r.rdtype == dns.rdatatype.CNAME and r.name not in names]
    return replace(
        kept,
        code=dns.rcode.NOERROR,
        answer=(*links, *answer, *more),
        authority=(),
        seconds=min(four.seconds, kept.seconds or four.seconds),
    )


def _rewritten(rrset: dns.rrset.RRset, pairs: KnownPairs) -> Iterator[dns.rrset.RRset]:
    if rrset.rdtype in _DROPPED:
        return
    if rrset.rdtype != dns.rdatatype.A:
        yield rrset
        return
    addresses = list[str]()
    for address in _addresses(rrset):
        known = known_as(address, pairs)
        outer = (address,) if known is None else known
        addresses += [str(a) for a in outer if isinstance(a, IPv4Address)]
    if addresses:
        yield dns.rrset.from_text_list(rrset.name, rrset.ttl, "IN", "A", addresses)


def _in_ipv6(rrsets: Iterable[dns.rrset.RRset], pairs: KnownPairs) -> Iterator[dns.rrset.RRset]:
    for rrset in rrsets:
        outer = [a for here in _addresses(rrset) for a in known_as(here, pairs) or ()]
        if found := [str(a) for a in outer if isinstance(a, IPv6Address)]:
            yield dns.rrset.from_text_list(rrset.name, rrset.ttl, "IN", "AAAA", found)


def _addresses(rrset: dns.rrset.RRset) -> Iterator[IPv4Address]:
    yield from (IPv4Address(each.address) for each in values_of(rrset) if isinstance(each, A))
