"""What is read out of a DNS answer, and the answer with other addresses."""

from __future__ import annotations

from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rrset
import pytest

from gatepost.errors import Malformed
from gatepost.sessions.answered_names import asked_name, read_answered, without_addresses

ROOM = 65535


def make_answer(name: str, kind: str, *records: tuple[str, str, str]) -> dns.message.Message:
    answer = dns.message.make_response(dns.message.make_query(name, kind))
    for owner, its_kind, text in records:
        answer.answer.append(dns.rrset.from_text(owner, 60, "IN", its_kind, *text.split()))
    return answer


def test_a_chain_leads_to_the_addresses() -> None:
    answer = make_answer(
        "Wiki.Example.", "A",
        ("cdn.example.", "A", "203.0.113.1 203.0.113.2"),
        ("wiki.example.", "CNAME", "www.wiki.example."),
        ("www.wiki.example.", "CNAME", "cdn.example."),
    )  # fmt: skip
    found = read_answered(answer.to_wire())

    assert found is not None
    assert found.chain == ("wiki.example", "www.wiki.example", "cdn.example")
    assert set(found.addresses) == {ip_address("203.0.113.1"), ip_address("203.0.113.2")}
    assert found.ttl == 60


@pytest.mark.parametrize(
    "answer",
    [
        make_answer("wiki.example.", "A"),
        make_answer("wiki.example.", "A", ("other.example.", "A", "203.0.113.1")),
        make_answer("wiki.example.", "A", ("wiki.example.", "AAAA", "2001:db8::1")),
        make_answer("wiki.example.", "TXT", ("wiki.example.", "TXT", "203.0.113.1")),
        make_answer(
            "wiki.example.", "A",
            ("wiki.example.", "CNAME", "a.example."), ("b.example.", "A", "203.0.113.1"),
        ),
    ],
)  # fmt: skip
def test_nothing_that_was_not_asked_for_counts(answer: dns.message.Message) -> None:
    assert read_answered(answer.to_wire()) is None


def test_a_failure_has_no_addresses() -> None:
    answer = make_answer("wiki.example.", "A", ("wiki.example.", "A", "203.0.113.1"))
    answer.set_rcode(dns.rcode.SERVFAIL)

    assert read_answered(answer.to_wire()) is None


def test_a_chain_that_goes_round_ends() -> None:
    answer = make_answer(
        "a.example.", "A",
        ("a.example.", "CNAME", "b.example."), ("b.example.", "CNAME", "a.example."),
    )  # fmt: skip

    assert read_answered(answer.to_wire()) is None


def test_other_addresses_are_put_at_the_end_of_the_chain() -> None:
    answer = make_answer(
        "wiki.example.", "A",
        ("wiki.example.", "CNAME", "cdn.example."), ("cdn.example.", "A", "203.0.113.1"),
    )  # fmt: skip
    found = read_answered(answer.to_wire())
    assert found is not None
    again = read_answered(found.with_addresses((ip_address("203.0.113.9"),), ROOM))

    assert again is not None
    assert again.chain == found.chain
    assert again.addresses == (ip_address("203.0.113.9"),)
    assert again.message.id == answer.id


def test_hints_at_addresses_are_left_out_and_the_rest_stays() -> None:
    answer = make_answer("wiki.example.", "ANY", ("wiki.example.", "A", "203.0.113.1"))
    hint = "1 . ipv4hint=203.0.113.1"
    answer.answer.append(dns.rrset.from_text("wiki.example.", 60, "IN", "HTTPS", hint))
    answer.answer.append(dns.rrset.from_text("wiki.example.", 60, "IN", "TXT", '"hello"'))
    left = dns.message.from_wire(without_addresses(answer.to_wire()))

    assert [str(r) for r in left.answer] == ['wiki.example. 60 IN TXT "hello"']
    assert left.id == answer.id


def test_a_refusal_tells_nothing() -> None:
    answer = make_answer("wiki.example.", "A", ("wiki.example.", "A", "203.0.113.1"))
    found = read_answered(answer.to_wire())
    assert found is not None
    refused = dns.message.from_wire(found.refusal())

    assert (refused.rcode(), refused.answer) == (dns.rcode.SERVFAIL, [])


@pytest.mark.parametrize("length", range(len(dns.message.make_query("a.example.", "A").to_wire())))
def test_a_query_that_ends_early_is_refused(length: int) -> None:
    whole = dns.message.make_query("a.example.", "A").to_wire()
    assert asked_name(whole) == "a.example"
    with pytest.raises(Malformed):
        asked_name(whole[:length])
