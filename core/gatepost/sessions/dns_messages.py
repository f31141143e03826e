"""DNS messages: queries in, answers out, and what may be believed of an answer. Pure.

The format is dnspython's work (RFC 1035, RFC 6891); here is what a resolver
does with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdata import Rdata
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.svcbbase import IPv4HintParam, IPv6HintParam, SVCBBase

from gatepost.errors import Malformed
from gatepost.model.netmap import IPAddress
from gatepost.sessions.dns_names import Addresses, Missing, Pointer, is_inside

PADDING = 128  # bytes, RFC 8467 section 4.1
UDP_SIZE = 1232  # bytes, what fits every path (DNS flag day 2020)
SMALL_UDP = 512  # bytes, for clients without EDNS (RFC 1035 2.3.4)
OWN_TTL = 60  # seconds that others may keep the mesh's own answers
LONGEST_TTL, LONGEST_MISS = 86400, 900  # seconds that answers are kept here
MOST_LINKS = 16  # of a chain of CNAMEs
HEADER = struct.Struct(">HHHHHH")  # id, flags, counts of the four sections
_QR, _OPT = 0x8000, 41
_POINTER = 0xC0
_TTL = struct.Struct(">I")
_FIXED = struct.Struct(">HHIH")  # type, class, TTL, length of the data
_TRANSFERS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})

Message = dns.message.Message


@dataclass(frozen=True, slots=True)
class Query:
    """A question that can be answered; `name` in small letters without the final dot."""

    message: Message
    name: str

    @property
    def type(self) -> dns.rdatatype.RdataType:
        return self.message.question[0].rdtype

    @property
    def room(self) -> int:
        """Bytes of a UDP answer that the client takes."""
        if self.message.edns < 0:
            return SMALL_UDP
        return min(max(self.message.payload, SMALL_UDP), UDP_SIZE)

    @property
    def is_plain(self) -> bool:
        """Say whether it has no options; a cookie makes every query another one."""
        return not cast(tuple[object, ...], self.message.options)  # its items have no type

    @property
    def key(self) -> tuple[str, int, bool, bool]:
        """What answers can be shared by: name, type, "DNSSEC OK", "checking disabled"."""
        wants_signatures = bool(self.message.ednsflags & dns.flags.DO)
        return self.name, self.type, wants_signatures, bool(self.message.flags & dns.flags.CD)


def read_query(raw: bytes) -> Query | bytes:
    """Return the query, or the answer that refuses it; raise `Malformed` for what gets none."""
    if len(raw) < HEADER.size:
        raise Malformed(f"{len(raw)} bytes are no DNS message")
    number, flags, questions, *_ = HEADER.unpack_from(raw)
    if flags & _QR:
        raise Malformed("an answer that nobody asked for")
    if dns.opcode.from_flags(flags) is not dns.opcode.QUERY:
        return _refusal(number, flags, dns.rcode.NOTIMP)
    try:
        message = dns.message.from_wire(raw)
    except (dns.exception.DNSException, ValueError):
        return _refusal(number, flags, dns.rcode.FORMERR)
    if questions != 1 or len(message.question) != 1:
        return _refusal(number, flags, dns.rcode.FORMERR)
    asked = message.question[0]
    if asked.rdclass is not dns.rdataclass.IN or asked.rdtype in _TRANSFERS:
        return _refusal(number, flags, dns.rcode.REFUSED)
    if message.edns > 0:
        return write_reply(_reply(message, dns.rcode.BADVERS), SMALL_UDP)
    return Query(message, text_name(asked.name))


def text_name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _refusal(number: int, flags: int, code: dns.rcode.Rcode) -> bytes:
    kept = flags & (0x7800 | dns.flags.RD)  # opcode and RD
    return HEADER.pack(number, _QR | kept | dns.flags.RA | code, 0, 0, 0, 0)


# --- answers of our own -----------------------------------------------------------------


def _reply(query: Message, code: dns.rcode.Rcode) -> Message:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=UDP_SIZE)
    reply.set_rcode(code)
    return reply


def failure(query: Query, code: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> Message:
    return _reply(query.message, code)


def own_answer(query: Query, found: Addresses | Pointer | Missing, suffix: str) -> Message:
    """Answer with what the mesh knows; a miss comes with an SOA, so that it is remembered."""
    code = dns.rcode.NXDOMAIN if found is Missing.NAME else dns.rcode.NOERROR
    reply = _reply(query.message, code)
    reply.flags |= dns.flags.AA
    owner = query.message.question[0].name
    for kind, values in _records(query.type, found):
        reply.answer.append(dns.rrset.from_text_list(owner, OWN_TTL, "IN", kind, values))
    if not reply.answer:
        zone = dns.name.from_text(suffix or ".")
        if not owner.is_subdomain(zone):
            zone = owner
        text = f"{zone} nobody.invalid. 1 3600 600 86400 {OWN_TTL}"
        reply.authority.append(dns.rrset.from_text(zone, OWN_TTL, "IN", "SOA", text))
    return reply


def _records(
    kind: dns.rdatatype.RdataType, found: Addresses | Pointer | Missing
) -> Iterator[tuple[str, list[str]]]:
    match found:
        case Addresses(addresses):
            for name, version in (("A", 4), ("AAAA", 6)):
                values = [str(a) for a in addresses if a.version == version]
                if values and kind in {dns.rdatatype.from_text(name), dns.rdatatype.ANY}:
                    yield name, values
        case Pointer(name):
            if kind in {dns.rdatatype.PTR, dns.rdatatype.ANY}:
                yield "PTR", [f"{name}."]
        case Missing():
            return


# --- answers of others -------------------------------------------------------------------


def question_for(query: Query, number: int) -> Message:
    """Return what to ask a server; `number` is the id, 0 to 65535, that nobody can guess."""
    asked = query.message.question[0]
    question = dns.message.make_query(
        asked.name,
        asked.rdtype,
        use_edns=0,
        payload=UDP_SIZE,
        ednsflags=query.message.ednsflags & dns.flags.DO,
        id=number,
    )
    question.flags |= query.message.flags & dns.flags.CD
    return question


def with_letters(question: Message, chance: bytes) -> Message:
    """Return the question with capital letters where a bit of `chance` is set.

    Whoever answers gives the name back as it was asked; who guesses must guess that, too.
    """
    (asked,) = question.question
    bits = int.from_bytes(chance)
    labels = list[bytes]()
    for label in asked.name.labels:
        mixed = bytearray(label.lower())
        for at, octet in enumerate(mixed):
            bits, is_capital = bits >> 1, bits & 1
            if is_capital and 0x61 <= octet <= 0x7A:  # noqa: PLR2004  # a to z
                mixed[at] = octet - 0x20
        labels.append(bytes(mixed))
    mixed_question = copy(question)
    name = dns.name.Name(labels)
    mixed_question.question = [dns.rrset.RRset(name, asked.rdclass, asked.rdtype)]
    return mixed_question


def has_same_letters(answer: Message, question: Message) -> bool:
    """Say whether an answer has the name exactly as it was asked; an error may have none."""
    said = answer.question
    return not said or said[0].name.labels == question.question[0].name.labels


def padded(question: Message) -> Message:
    """Fill a question up to a multiple of 128 bytes, for encrypted ways (RFC 8467)."""
    longer = copy(question)
    longer.pad = PADDING
    return longer


def address_query(name: str, kind: str) -> Query:
    """Make a query of our own; raise `Malformed` for what is no name."""
    try:
        return Query(dns.message.make_query(name, kind), name.lower().rstrip("."))
    except dns.exception.DNSException as error:
        raise Malformed(f"{name!r} is not a name: {error}") from error


def addresses_in(answer: Message) -> list[IPAddress]:
    """Return the addresses to which an answer leads, whatever they are."""
    return [
        ip_address(each.address)
        for rrset in answer.answer
        for each in values_of(rrset)
        if isinstance(each, A | AAAA)
    ]


def read_answer(raw: bytes, question: Message) -> Message:
    """Return the answer to this very question; raise `Malformed` for everything else."""
    try:
        answer = dns.message.from_wire(raw, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"the answer cannot be read: {error}") from error
    asked, said = question.question, answer.question
    is_ours = answer.flags & dns.flags.QR and answer.id == question.id
    if not is_ours or answer.opcode() != question.opcode():
        raise Malformed("the answer is to something else: its number is another")
    is_bare_error = not said and answer.rcode() != dns.rcode.NOERROR
    if not is_bare_error and (len(said) != 1 or said[0] != asked[0]):
        raise Malformed("the answer is to another question")
    return answer


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of an answer that is about the question, and for how many seconds it holds.

    `is_inside`: it leads to an address that no public name should have.
    """

    code: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]
    seconds: int
    is_inside: bool = False

    def aged(self, seconds: int) -> Kept:
        """Return the same with TTLs that much lower."""
        return replace(
            self,
            answer=tuple(_older(r, seconds) for r in self.answer),
            authority=tuple(_older(r, seconds) for r in self.authority),
        )


def _older(rrset: dns.rrset.RRset, seconds: int) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(rrset.name, max(0, rrset.ttl - seconds), [*values_of(rrset)])


def keep(query: Query, answer: Message) -> Kept:
    """Take what answers the question: the chain of names from it, and a zone's word for a miss.

    Whatever else a server adds is dropped; nobody asked it.
    """
    asked = query.message.question[0].name
    chain = chain_from(asked, answer.answer)
    kept = tuple(r for r in answer.answer if _is_about(r, chain))
    end = chain[-1]
    has_end = any(r.name == end and r.rdtype == query.type for r in kept)
    proof = {dns.rdatatype.SOA, dns.rdatatype.NSEC, dns.rdatatype.NSEC3, dns.rdatatype.RRSIG}
    authority = tuple(r for r in answer.authority if r.rdtype in proof and not has_end)
    soas = [r for r in authority if r.rdtype == dns.rdatatype.SOA and end.is_subdomain(r.name)]
    code = answer.rcode()
    seconds = _seconds(kept, soas, has_answer=has_end or query.type == dns.rdatatype.ANY)
    is_final = code in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
    return Kept(code, kept, authority, seconds if is_final else 0, _leads_inside(kept))


def chain_from(asked: dns.name.Name, rrsets: Iterable[dns.rrset.RRset]) -> list[dns.name.Name]:
    """Return the name asked for and those that it stands for, by the CNAMEs of an answer."""
    aliases = {r.name: v.target for r in rrsets for v in values_of(r) if isinstance(v, CNAME)}
    chain = [asked]
    while (following := aliases.get(chain[-1])) is not None and len(chain) <= MOST_LINKS:
        if following in chain:
            break
        chain.append(following)
    return chain


def _is_about(rrset: dns.rrset.RRset, chain: list[dns.name.Name]) -> bool:
    if dns.rdatatype.DNAME in {rrset.rdtype, rrset.covers}:
        return any(name.is_subdomain(rrset.name) for name in chain)
    return rrset.name in chain


def _seconds(
    kept: tuple[dns.rrset.RRset, ...], soas: list[dns.rrset.RRset], *, has_answer: bool
) -> int:
    """Return how long an answer may be kept; a miss as its SOA says (RFC 2308), else not at all."""
    seconds = [int(r.ttl) for r in kept]
    if has_answer and seconds:
        return min(*seconds, LONGEST_TTL)
    if not soas:
        return 0
    least = [v.minimum for v in values_of(soas[0]) if isinstance(v, SOA)]
    return min(*seconds, *least, int(soas[0].ttl), LONGEST_MISS)


def _leads_inside(rrsets: Iterable[dns.rrset.RRset]) -> bool:
    """Say whether records lead to a private address; the hints of HTTPS records do, too."""
    return any(
        is_inside(ip_address(address))
        for rrset in rrsets
        for each in values_of(rrset)
        for address in _addresses(each)
    )


def _addresses(record: Rdata) -> Iterator[str]:
    match record:
        case A() | AAAA():
            yield record.address
        case SVCBBase():
            # The library's own types say nothing of what a parameter holds.
            for hint in cast(Iterable[object], record.params.values()):
                if isinstance(hint, IPv4HintParam | IPv6HintParam):
                    yield from cast(Iterable[str], hint.addresses)
        case _:
            return


def values_of(rrset: dns.rrset.RRset) -> Iterator[Rdata]:
    # The set's own iterator has no type; it gives its values.
    yield from cast(Iterable[Rdata], rrset)


def answer_with(query: Query, kept: Kept) -> Message:
    """Answer a query with what was kept. Nothing is called authentic that we did not check."""
    reply = _reply(query.message, kept.code)
    reply.answer, reply.authority = list(kept.answer), list(kept.authority)
    return reply


# --- bytes ---------------------------------------------------------------------------------


def write_reply(reply: Message, room: int) -> bytes:
    """Write an answer of at most `room` bytes; what does not fit is left out and TC set."""
    return reply.to_wire(max_size=room, prefer_truncation=True)


def ttl_places(wire: bytes) -> tuple[int, ...]:
    """Return where the TTLs are in a message that `write_reply` made."""
    _, _, questions, *counts = HEADER.unpack_from(wire)
    at = HEADER.size
    for _ in range(questions):
        at = _after_name(wire, at) + 4
    places = list[int]()
    for _ in range(sum(counts)):
        at = _after_name(wire, at)
        kind, _, _, length = _FIXED.unpack_from(wire, at)
        if kind != _OPT:
            places.append(at + 4)
        at += _FIXED.size + length
    return tuple(places)


def aged(wire: bytes, places: tuple[int, ...], seconds: int) -> bytes:
    """Return the message with its TTLs `seconds` lower, none below 0."""
    if seconds <= 0:
        return wire
    older = bytearray(wire)
    for at in places:
        (ttl,) = _TTL.unpack_from(wire, at)
        _TTL.pack_into(older, at, max(0, ttl - seconds))
    return bytes(older)


def _after_name(wire: bytes, at: int) -> int:
    while (length := wire[at]) != 0:
        if length >= _POINTER:
            return at + 2
        at += length + 1
    return at + 1
