"""What a DNS answer says about addresses, and the same answer with fewer of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset

from gatepost.errors import Malformed
from gatepost.model.netmap import IPAddress
from gatepost.sessions.dns_messages import chain_from, text_name, values_of

_TYPES = {4: "A", 6: "AAAA"}


@dataclass(frozen=True, slots=True)
class AnsweredNames:
    """An answer with addresses. `chain` goes from the name asked for to the one that has them.

    Names are in small letters without the final dot. The addresses are of one version of IP;
    `ttl` is for how many seconds they may be kept.
    """

    message: dns.message.Message
    chain: tuple[str, ...]
    addresses: tuple[IPAddress, ...]
    ttl: int

    def with_addresses(self, addresses: Iterable[IPAddress], room: int) -> bytes:
        """Return the answer with these addresses instead, in at most `room` bytes.

        Signatures are left out, as they would be wrong.
        """
        owner = dns.name.from_text(self.chain[-1])
        kept = [r for r in self.message.answer if r.rdtype == dns.rdatatype.CNAME]
        texts = [str(a) for a in addresses]
        kind = _TYPES[self.addresses[0].version]
        kept.append(dns.rrset.from_text_list(owner, self.ttl, "IN", kind, texts))
        self.message.answer = kept
        return self.message.to_wire(max_size=room, prefer_truncation=True)

    def refusal(self) -> bytes:
        """Return an answer that tells no address, as after a failure."""
        self.message.answer = []
        self.message.authority = []
        self.message.set_rcode(dns.rcode.SERVFAIL)
        return self.message.to_wire()


def without_addresses(wire: bytes) -> bytes:
    """Return an answer without what leads anywhere: addresses, and services with hints at them.

    A browser that is told hints (RFC 9460, section 7.3) goes there and asks for no address.
    """
    message = dns.message.from_wire(wire)
    message.answer = [r for r in message.answer if r.rdtype not in _LEADING]
    message.additional = [r for r in message.additional if r.rdtype not in _LEADING]
    return message.to_wire()


def asked_name(query: bytes) -> str:
    """Return the one name that a query asks for; raise `Malformed`."""
    try:
        message = dns.message.from_wire(query)
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"this is no DNS query: {error}") from error
    if len(message.question) != 1:
        raise Malformed(f"a query with {len(message.question)} questions")
    return text_name(message.question[0].name)


def read_answered(wire: bytes) -> AnsweredNames | None:
    """Return what an answer says about addresses, None if it says nothing of them.

    Addresses count only at the end of the chain that begins with the name asked for.
    """
    message = dns.message.from_wire(wire)
    if message.rcode() != dns.rcode.NOERROR or len(message.question) != 1:
        return None
    chain = chain_from(message.question[0].name, message.answer)
    found = tuple(_addresses(message.answer, chain[-1], message.question[0].rdtype))
    if not found:
        return None
    ttl = min(int(r.ttl) for r in message.answer)
    return AnsweredNames(message, tuple(map(text_name, chain)), found, ttl)


def _addresses(
    rrsets: Iterable[dns.rrset.RRset], owner: dns.name.Name, kind: dns.rdatatype.RdataType
) -> Iterator[IPAddress]:
    for rrset in rrsets:
        if rrset.name == owner and rrset.rdtype == kind and kind in _ADDRESS_TYPES:
            for value in values_of(rrset):
                if isinstance(value, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA):
                    yield ip_address(value.address)


_ADDRESS_TYPES = frozenset({dns.rdatatype.A, dns.rdatatype.AAAA})
_LEADING = _ADDRESS_TYPES | {dns.rdatatype.HTTPS, dns.rdatatype.SVCB}
