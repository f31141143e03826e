"""A site's answers as the mesh hears them: never an address that leads to somebody else's host."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.via6 import via_prefix
from gatepost.sessions.dns_messages import Kept, address_query, keep
from gatepost.sessions.dns_sites import KnownPairs, known_as, seen_from_mesh

LAN = IPv4Network("192.168.1.0/24")
ALIAS = (LAN, IPv4Network("10.201.7.0/24"))
VIA = (LAN, via_prefix(7, LAN))
SIX = str(via_prefix(7, IPv4Network("192.168.1.9"))[0])
NAME = "printer.berlin.example"


def kept(kind: str, *records: str) -> Kept:
    """Return the answer to a question about NAME; a record is "name TTL type data"."""
    query = address_query(NAME, kind)
    reply = dns.message.make_response(query.message)
    for record in records:
        owner, ttl, type_, data = record.split(" ", 3)
        reply.answer.append(dns.rrset.from_text(f"{owner}.", int(ttl), "IN", type_, data))
    return keep(query, reply)


def said(answer: Kept) -> list[str]:
    return [str(rrset).replace(".example.", ".example") for rrset in answer.answer]


HOST = kept("A", f"{NAME} 300 A 192.168.1.9")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((ALIAS,), [f"{NAME} 300 IN A 10.201.7.9"]),
        ((ALIAS, VIA), [f"{NAME} 300 IN A 10.201.7.9"]),
        ((VIA,), []),
        ((), [f"{NAME} 300 IN A 192.168.1.9"]),
    ],
)
def test_a_host_has_the_ipv4_address_by_which_the_mesh_knows_it(
    pairs: KnownPairs, expected: list[str]
) -> None:
    assert said(seen_from_mesh(HOST, pairs)) == expected


def test_what_stands_for_it_in_ipv6_is_added_and_its_own_is_kept() -> None:
    own = kept("AAAA", f"{NAME} 60 AAAA fd00:7::9")

    assert said(seen_from_mesh(own, (ALIAS, VIA), HOST)) == [
        f"{NAME} 60 IN AAAA fd00:7::9",
        f"{NAME} 300 IN AAAA {SIX}",
    ]
    assert said(seen_from_mesh(kept("AAAA"), (VIA,), HOST)) == [f"{NAME} 300 IN AAAA {SIX}"]
    assert said(seen_from_mesh(kept("AAAA"), (ALIAS,), HOST)) == []


def test_a_chain_of_names_leads_to_what_stands_for_its_end() -> None:
    link = f"{NAME} 300 CNAME p1.berlin.example."
    four = kept("A", link, "p1.berlin.example 300 A 192.168.1.9")

    for six in (kept("AAAA"), kept("AAAA", link)):
        assert said(seen_from_mesh(six, (VIA,), four)) == [
            f"{NAME} 300 IN CNAME p1.berlin.example",
            f"p1.berlin.example 300 IN AAAA {SIX}",
        ]


def test_addresses_of_other_networks_stay_and_what_fits_no_more_is_dropped() -> None:
    more = (
        f"{NAME} 300 A 203.0.113.9",
        f"{NAME} 300 HTTPS 1 . ipv4hint=192.168.1.9",
    )

    assert said(seen_from_mesh(kept("A", more[0]), (VIA,))) == [f"{NAME} 300 IN A 203.0.113.9"]
    assert said(seen_from_mesh(kept("HTTPS", more[1]), (VIA,))) == []


def test_an_answer_made_of_another_ones_holds_no_longer_than_it() -> None:
    short = kept("A", f"{NAME} 20 A 192.168.1.9")
    found = seen_from_mesh(kept("AAAA"), (VIA,), short)

    assert (found.seconds, found.code) == (20, dns.rcode.NOERROR)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_address_keeps_its_last_bits_or_is_not_ours(address: IPv4Address) -> None:
    found = known_as(address, (ALIAS, VIA))

    if address not in LAN:
        assert found is None
        return
    last = int(address) & 0xFF
    assert found == (
        ALIAS[1][last],
        IPv6Address(int(VIA[1].network_address) + last),
    )
