"""What a resolver does with DNS messages: refuse, answer, believe, keep."""

from __future__ import annotations

from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.sessions.dns_cache import RECORD, RRSET, AnswerCache, WireCache
from gatepost.sessions.dns_messages import (
    Query,
    aged,
    answer_with,
    keep,
    own_answer,
    question_for,
    read_answer,
    read_query,
    ttl_places,
    write_reply,
)
from gatepost.sessions.dns_names import Addresses, Missing, Pointer

HOST = Addresses((ip_address("100.64.0.2"), ip_address("fd7a:115c:a1e0::2")))


def query(name: str = "www.example.org", kind: str = "A", *, edns: int | None = 0) -> Query:
    made = dns.message.make_query(name, kind, use_edns=-1 if edns is None else edns, id=77)
    read = read_query(made.to_wire())
    assert isinstance(read, Query)
    return read


def answer(to: Query, *lines: str, code: str = "NOERROR", soa: str = "") -> dns.message.Message:
    """Answer the question that `to` becomes, with records in zone file form."""
    reply = dns.message.make_response(question_for(to, 9))
    reply.set_rcode(dns.rcode.from_text(code))
    for section, texts in ((reply.answer, lines), (reply.authority, (soa,) if soa else ())):
        for text in texts:
            name, ttl, kind, value = text.split(" ", 3)
            section.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
    return reply


def code_of(raw: object) -> dns.rcode.Rcode:
    assert isinstance(raw, bytes)
    return dns.message.from_wire(raw).rcode()


# --- queries -----------------------------------------------------------------------------


def test_a_name_is_read_in_small_letters() -> None:
    assert query("WWW.Example.ORG").name == "www.example.org"


def test_what_is_no_query_for_names_is_refused() -> None:
    update = dns.message.make_query("a.example", "A", rdclass="CH")
    notify = dns.message.make_query("a.example", "SOA")
    notify.set_opcode(4)  # type: ignore[arg-type]  # NOTIFY, by its number

    assert code_of(read_query(update.to_wire())) == dns.rcode.REFUSED
    assert code_of(read_query(notify.to_wire())) == dns.rcode.NOTIMP
    assert code_of(read_query(dns.message.make_query("a", "AXFR").to_wire())) == dns.rcode.REFUSED
    assert code_of(read_query(dns.message.make_query("a", "A", use_edns=1).to_wire())) == 16


def test_an_answer_is_never_answered() -> None:
    with pytest.raises(Malformed):
        read_query(dns.message.make_response(query().message).to_wire())


def test_every_truncation_of_a_query_is_refused() -> None:
    whole = query().message.to_wire()
    for length in range(12, len(whole)):
        assert code_of(read_query(whole[:length])) == dns.rcode.FORMERR
    for length in range(12):
        with pytest.raises(Malformed):
            read_query(whole[:length])


@given(st.binary(min_size=12, max_size=120))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    try:
        read = read_query(raw)
    except Malformed:
        return
    assert isinstance(read, bytes | Query)


# --- own answers -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), [("A", "100.64.0.2"), ("AAAA", "fd7a:115c:a1e0::2")])
def test_a_host_has_both_kinds_of_address(kind: str, value: str) -> None:
    reply = own_answer(query("box2.mesh.example", kind), HOST, "mesh.example")

    assert [r.to_text() for r in reply.answer] == [f"box2.mesh.example. 60 IN {kind} {value}"]
    assert reply.flags & dns.flags.AA


def test_another_type_of_a_known_name_is_no_missing_name() -> None:
    reply = own_answer(query("box2.mesh.example", "MX"), HOST, "mesh.example")

    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert reply.authority[0].name.to_text() == "mesh.example."


def test_a_missing_name_says_so_with_an_soa() -> None:
    reply = own_answer(query("x.mesh.example"), Missing.NAME, "mesh.example")

    assert (reply.rcode(), len(reply.authority)) == (dns.rcode.NXDOMAIN, 1)


def test_a_pointer_leads_to_the_name() -> None:
    reply = own_answer(query("2.0.64.100.in-addr.arpa", "PTR"), Pointer("box2.mesh.example"), "x")

    assert reply.answer[0].to_text().endswith(" PTR box2.mesh.example.")


def test_an_answer_that_does_not_fit_says_that_it_is_cut() -> None:
    many = Addresses(tuple(ip_address(f"10.0.{n}.1") for n in range(200)))
    asked = query(edns=None)
    raw = write_reply(own_answer(asked, many, ""), asked.room)

    assert len(raw) <= 512
    assert dns.message.from_wire(raw, raise_on_truncation=False).flags & dns.flags.TC


# --- others' answers -----------------------------------------------------------------------


def test_an_answer_to_our_question_is_taken() -> None:
    asked = query()
    reply = answer(asked, "www.example.org. 60 A 192.0.2.1").to_wire()

    assert read_answer(reply, question_for(asked, 9)).answer


@pytest.mark.parametrize("flaw", ["id", "name", "type", "query", "none", "cut"])
def test_an_answer_to_something_else_is_not_believed(flaw: str) -> None:
    asked = query()
    wrong = {"name": query("ww2.example.org"), "type": query(kind="AAAA")}.get(flaw, asked)
    reply = answer(wrong)
    if flaw == "id":
        reply.id = 10
    elif flaw == "query":
        reply.flags &= ~dns.flags.QR
    elif flaw == "none":
        reply.question = []
    raw = reply.to_wire()

    with pytest.raises(Malformed):
        read_answer(raw[:20] if flaw == "cut" else raw, question_for(asked, 9))


def test_records_that_nobody_asked_for_are_dropped() -> None:
    asked = query()
    reply = answer(
        asked,
        "www.example.org. 300 CNAME a.example.net.",
        "a.example.net. 60 A 192.0.2.1",
        "bank.example. 86400 A 192.0.2.66",
    )
    kept = keep(asked, reply)

    assert [r.name.to_text() for r in kept.answer] == ["www.example.org.", "a.example.net."]
    assert kept.seconds == 60


@pytest.mark.parametrize(
    ("soa", "seconds"),
    [
        ("example.org. 600 SOA a. b. 1 2 3 4 30", 30),
        ("other.example. 600 SOA a. b. 1 2 3 4 30", 0),
        ("", 0),
    ],
)
def test_a_miss_is_kept_as_the_zone_says(soa: str, seconds: int) -> None:
    asked = query()

    assert keep(asked, answer(asked, code="NXDOMAIN", soa=soa)).seconds == seconds


def test_a_failure_is_not_kept() -> None:
    asked = query()

    assert keep(asked, answer(asked, code="SERVFAIL")).seconds == 0


def test_a_loop_of_names_ends() -> None:
    asked = query()
    reply = answer(asked, "www.example.org. 9 CNAME b.", "b. 9 CNAME www.example.org.")

    assert len(keep(asked, reply).answer) == 2


def test_nothing_is_called_authentic_that_was_not_checked() -> None:
    asked = query()
    reply = answer(asked, "www.example.org. 9 A 192.0.2.1")
    reply.flags |= dns.flags.AD

    assert not answer_with(asked, keep(asked, reply)).flags & dns.flags.AD


@pytest.mark.parametrize(("address", "expected"), [("10.0.0.1", True), ("192.0.1.1", False)])
def test_a_public_name_with_a_private_address_is_noticed(address: str, expected: bool) -> None:
    asked = query()

    assert keep(asked, answer(asked, f"www.example.org. 9 A {address}")).is_inside is expected


# --- what is kept ----------------------------------------------------------------------------


def test_ttls_grow_old_and_the_rest_stays() -> None:
    asked = query()
    reply = answer(
        asked, "www.example.org. 300 CNAME a.example.net.", "a.example.net. 60 A 1.2.3.4"
    )
    raw = write_reply(answer_with(asked, keep(asked, reply)), 1232)
    read = dns.message.from_wire(aged(raw, ttl_places(raw), 100))

    assert [r.ttl for r in read.answer] == [200, 0]
    assert read.edns == 0


def test_a_kept_answer_ends_with_its_ttl() -> None:
    asked = query()
    cache = AnswerCache()
    cache.put(asked.key, keep(asked, answer(asked, "www.example.org. 60 A 1.2.3.4")), 1000.0)
    found = cache.get(asked.key, 1059.0)

    assert found is not None
    assert found[1] == 59.0
    assert cache.get(asked.key, 1060.0) is None


def test_the_cache_never_holds_more_than_its_room() -> None:
    cache = AnswerCache(most=10)
    for number in range(50):
        asked = query(f"n{number}.example")
        cache.put(asked.key, keep(asked, answer(asked, f"n{number}.example. 9 A 1.2.3.4")), 0.0)

    assert len(cache) == 10
    assert cache.get(query("n49.example").key, 1.0) is not None


def test_long_answers_take_no_more_room_than_there_is_for_all() -> None:
    addresses = [f"192.0.2.{n}" for n in range(250)]
    cache = AnswerCache(most_octets=4 * len(addresses) * (RRSET + RECORD + 4))
    for number in range(50):
        asked = query(f"n{number}.example")
        records = [f"n{number}.example. 9 A {a}" for a in addresses]
        cache.put(asked.key, keep(asked, answer(asked, *records)), 0.0)
    held = [n for n in range(50) if cache.get(query(f"n{n}.example").key, 1.0)]

    assert held == [46, 47, 48, 49]


def test_what_has_ended_gives_its_room_back() -> None:
    cache = AnswerCache(most_octets=2 * (RRSET + RECORD + 4))
    for name, now in (("one.example", 0.0), ("two.example", 5.0), ("three.example", 10.0)):
        asked = query(name)
        cache.put(asked.key, keep(asked, answer(asked, f"{name}. 9 A 1.2.3.4")), now)
        cache.get(query("one.example").key, now + 4.5)

    assert cache.get(query("two.example").key, 11.0) is not None
    assert cache.get(query("three.example").key, 11.0) is not None


def test_the_same_bytes_get_the_same_answer_with_their_own_number() -> None:
    asked = query()
    raw = asked.message.to_wire()
    reply = write_reply(
        answer_with(asked, keep(asked, answer(asked, "www.example.org. 60 A 1.2.3.4"))), 512
    )
    cache = WireCache()
    cache.put(raw, reply, 0.0, 60)
    found = cache.get(b"\x12\x34" + raw[2:], 10.0)

    assert found is not None
    assert dns.message.from_wire(found).id == 0x1234
    assert dns.message.from_wire(found).answer[0].ttl == 50
    assert cache.get(raw, 60.0) is None
