"""What passes between a LAN and other sites, and what does not."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from tests.wire.test_reflected import ANSWER, NEWS, QUESTION, SEARCH

from gatepost.errors import Malformed, WireError
from gatepost.sessions.reflector import (
    BURST,
    MOST_SEARCHES,
    REMEMBERED,
    SEARCH_TIME,
    Place,
    Reflector,
)
from gatepost.wire.reflected import Kind, Reflected, write_reflected

PEER, STRANGER = IPv4Address("100.64.0.2"), IPv4Address("100.64.0.3")
HOST: Place = ("lan0", ("10.1.0.2", 40000))


@pytest.fixture
def box() -> Reflector:
    return Reflector(frozenset({PEER}), 0.0)


def test_a_question_goes_out_once_and_again_when_it_is_repeated(box: Reflector) -> None:
    first = box.from_lan(Kind.MDNS_V4, QUESTION, HOST, 1.0)

    assert first == Reflected(Kind.MDNS_V4, QUESTION)
    assert box.from_lan(Kind.MDNS_V4, QUESTION, HOST, 1.0 + REMEMBERED) is None
    assert box.from_lan(Kind.MDNS_V6, QUESTION, HOST, 1.0) is not None
    assert box.from_lan(Kind.MDNS_V4, QUESTION, HOST, 2.0) is not None


def test_nothing_goes_round_between_sites_with_two_boxes(box: Reflector) -> None:
    """What came in is heard in the LAN by the other box, and by this one from there."""
    raw = write_reflected(Reflected(Kind.MDNS_V4, QUESTION))

    assert box.from_mesh(PEER, raw, 1.0) is not None
    assert box.from_lan(Kind.MDNS_V4, QUESTION, HOST, 1.1) is None
    assert box.from_mesh(PEER, raw, 1.2) is None


def test_only_who_was_granted_it_is_heard(box: Reflector) -> None:
    raw = write_reflected(Reflected(Kind.SSDP_NEWS, NEWS))

    with pytest.raises(Malformed, match=str(STRANGER)):
        box.from_mesh(STRANGER, raw, 1.0)
    assert box.from_mesh(PEER, raw, 1.0) == Reflected(Kind.SSDP_NEWS, NEWS)


def test_an_answer_finds_who_searched_for_a_while(box: Reflector) -> None:
    search = box.from_lan(Kind.SSDP_SEARCH, SEARCH, HOST, 1.0)
    assert search
    raw = write_reflected(Reflected(Kind.SSDP_ANSWER, ANSWER, search.number))

    # Devices of one model answer alike, so equal answers all count.
    assert box.from_mesh(PEER, raw, 1.5) == box.from_mesh(PEER, raw, 1.6)
    assert box.searcher(search.number, 1.0 + SEARCH_TIME) == HOST
    assert box.searcher(search.number, 1.1 + SEARCH_TIME) is None
    assert box.searcher(search.number + 1, 1.5) is None


def test_the_oldest_search_goes_when_there_are_too_many(box: Reflector) -> None:
    numbers = list[int]()
    for n in range(MOST_SEARCHES + 1):
        found = box.from_lan(Kind.SSDP_SEARCH, SEARCH + b"%d" % n, HOST, 1.0 + n)
        assert found
        numbers.append(found.number)

    assert len(set(numbers)) == MOST_SEARCHES + 1
    assert box.searcher(numbers[0], 1.0) is None
    assert box.searcher(numbers[-1], 1.0 + MOST_SEARCHES) == HOST


@pytest.mark.parametrize("way", ["out", "in"])
def test_a_flood_is_cut_short(box: Reflector, way: str) -> None:
    passed = 0
    for n in range(1000):
        datagram = QUESTION + n.to_bytes(2, "big")
        raw = write_reflected(Reflected(Kind.MDNS_V4, datagram))
        found = (
            box.from_lan(Kind.MDNS_V4, datagram, HOST, 1.0)
            if way == "out"
            else box.from_mesh(PEER, raw, 1.0)
        )
        passed += found is not None

    assert passed == BURST


def test_what_is_no_mdns_does_not_leave_the_lan(box: Reflector) -> None:
    with pytest.raises(WireError):
        box.from_lan(Kind.MDNS_V4, b"short", HOST, 1.0)
