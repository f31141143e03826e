"""DNS over HTTP on the side that answers: the query in a request, and an answer for people. Pure.

    GET  /dns-query?dns=<query, base64url without padding>
    POST /dns-query   Content-Type: application/dns-message, the query as the body
    GET  /dns-query?q=<name>&t=<a|aaaa|txt>   for people: JSON comes back

Source: RFC 8484, protocol document 5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping

import dns.exception
import dns.message
import dns.rcode
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA

from gatepost.errors import Malformed
from gatepost.sessions.dns_messages import values_of
from gatepost.wire.go_json import write_json

MEDIA_TYPE = "application/dns-message"
LARGEST = 65535  # bytes of a message
_TYPES = ("a", "aaaa", "txt")
_MULTIPLE = 4  # base64 goes by four characters


def read_doh(method: str, query: Mapping[str, str], content_type: str, body: bytes) -> bytes:
    """Return the DNS query in a request; raise `Malformed` with what is wrong."""
    if method == "POST":
        if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise Malformed(f"content type {content_type!r} is not {MEDIA_TYPE}")
        raw = body
    elif "dns" in query:
        raw = _decoded(query["dns"])
    else:
        raise Malformed("there is no parameter dns with the query in base64url")
    if not 0 < len(raw) <= LARGEST:
        raise Malformed(f"a query of {len(raw)} bytes is not one of 1 to {LARGEST}")
    return raw


def plain_query(query: Mapping[str, str]) -> bytes | None:
    """Return the query that `?q=` asks for, None if it asks for none; raise `Malformed`."""
    name, kind = query.get("q"), query.get("t", "a").lower()
    if not name:
        return None
    if kind not in _TYPES:
        raise Malformed(f"type {kind!r} is not one of {', '.join(_TYPES)}")
    try:
        return dns.message.make_query(name, kind, id=1).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"{name!r} is not a name: {error}") from error


def plain_answer(wire: bytes) -> bytes:
    """Return what an answer holds as a JSON list of texts; a failure as an object."""
    answer = dns.message.from_wire(wire)
    if answer.rcode() != dns.rcode.NOERROR:
        return write_json({"Error": f"DNS answers {dns.rcode.to_text(answer.rcode())}"}) + b"\n"
    return write_json(list(_texts(answer))) + b"\n"


def _texts(answer: dns.message.Message) -> Iterator[str]:
    for rrset in answer.answer:
        for value in values_of(rrset):
            match value:
                case dns.rdtypes.IN.A.A() | dns.rdtypes.IN.AAAA.AAAA():
                    yield str(value.address)
                case dns.rdtypes.ANY.TXT.TXT():
                    yield from (part.decode("utf-8", "replace") for part in value.strings)
                case _:  # part of a chain
                    pass


def _decoded(text: str) -> bytes:
    bare = text.rstrip("=")
    try:
        return base64.b64decode(
            bare + "=" * (-len(bare) % _MULTIPLE), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"the parameter dns is not base64url: {error}") from error
