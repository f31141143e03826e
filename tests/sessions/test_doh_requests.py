"""DNS over HTTP as requests have it, and as people read it."""

from __future__ import annotations

import base64
import json

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.sessions.doh_requests import MEDIA_TYPE, plain_answer, plain_query, read_doh

# RFC 8484, section 4.1.1: the first example, www.example.com A.
RFC_TEXT = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
RFC_QUERY = bytes.fromhex("00000100000100000000000003777777076578616d706c6503636f6d0000010001")


def test_the_example_of_the_rfc_is_read() -> None:
    assert read_doh("GET", {"dns": RFC_TEXT}, "", b"") == RFC_QUERY
    assert read_doh("POST", {}, MEDIA_TYPE, RFC_QUERY) == RFC_QUERY
    assert read_doh("POST", {}, "Application/DNS-Message; x=y", RFC_QUERY) == RFC_QUERY


@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_every_query_makes_the_round_trip(query: bytes, is_padded: bool) -> None:  # Hypothesis's
    text = base64.urlsafe_b64encode(query).decode()

    assert read_doh("GET", {"dns": text if is_padded else text.rstrip("=")}, "", b"") == query


@pytest.mark.parametrize(
    ("method", "query", "kind", "body"),
    [
        ("GET", {}, "", b""),
        ("GET", {"dns": ""}, "", b""),
        ("GET", {"dns": "A"}, "", b""),
        ("GET", {"dns": "AAAA AAA"}, "", b""),
        ("GET", {"dns": "ä"}, "", b""),
        ("POST", {}, "text/plain", RFC_QUERY),
        ("POST", {}, "", RFC_QUERY),
        ("POST", {}, MEDIA_TYPE, b""),
        ("POST", {}, MEDIA_TYPE, bytes(65536)),
    ],
)
def test_what_is_no_query_is_refused(
    method: str, query: dict[str, str], kind: str, body: bytes
) -> None:
    with pytest.raises(Malformed):
        read_doh(method, query, kind, body)


def test_people_ask_by_name_and_type() -> None:
    asked = plain_query({"q": "wiki.example", "t": "AAAA"})
    assert asked is not None
    question = dns.message.from_wire(asked).question[0]

    assert str(question) == "wiki.example. IN AAAA"
    assert plain_query({"dns": RFC_TEXT}) is None


@pytest.mark.parametrize("query", [{"q": "a..b"}, {"q": "x" * 300}, {"q": "a", "t": "axfr"}])
def test_people_who_mistype_are_told(query: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        plain_query(query)


def test_people_are_told_the_addresses() -> None:
    answer = dns.message.make_response(dns.message.make_query("a.example.", "A"))
    answer.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "CNAME", "b.example."))
    answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "203.0.113.1"))
    answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "TXT", '"hello"'))
    failed = dns.message.make_response(dns.message.make_query("a.example.", "A"))
    failed.set_rcode(dns.rcode.NXDOMAIN)

    assert json.loads(plain_answer(answer.to_wire())) == ["203.0.113.1", "hello"]
    assert json.loads(plain_answer(failed.to_wire())) == {"Error": "DNS answers NXDOMAIN"}
