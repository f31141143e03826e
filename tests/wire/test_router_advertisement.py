"""Router advertisements: RFC 4861 and RFC 4191 in octets."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, WireError
from gatepost.wire.router_advertisement import (
    FOR_EVER,
    ROOM,
    Preference,
    RouteInformation,
    RouterAdvertisement,
    in_packets,
    is_solicitation,
    read_advertisement,
    write_advertisement,
    write_solicitation,
)

# By hand from RFC 4861, 4.2 and RFC 4191, 2.3: fd0a:1::/64 for 600 s, medium.
HEAD = bytes.fromhex("86000000 00000000 00000000 00000000")
ROUTE = bytes.fromhex("18024000 00000258 fd0a000100000000")
SITE = RouteInformation(prefix=IPv6Network("fd0a:1::/64"), lifetime=600)


def prefix_of(address: int, length: int) -> IPv6Network:
    return IPv6Network((address, length), strict=False)


prefixes = st.builds(prefix_of, st.integers(0, 2**128 - 1), st.integers(0, 128))
LEVELS: tuple[Preference, ...] = ("low", "medium", "high")
routes = st.builds(
    RouteInformation,
    prefix=prefixes,
    lifetime=st.integers(0, FOR_EVER),
    preference=st.sampled_from(LEVELS),
)


def test_a_route_is_written_as_the_standard_draws_it() -> None:
    assert write_advertisement(RouterAdvertisement(routes=(SITE,))) == HEAD + ROUTE


@pytest.mark.parametrize(
    ("prefix", "octets"),
    [("::/0", 8), ("fd00::/8", 16), ("fd0a:1::/64", 16), ("fd0a:1::/65", 24), ("fd0a::1/128", 24)],
)
def test_the_option_is_as_long_as_its_prefix_needs(prefix: str, octets: int) -> None:
    route = RouteInformation(prefix=IPv6Network(prefix), lifetime=1)

    assert len(write_advertisement(RouterAdvertisement(routes=(route,)))) == len(HEAD) + octets


@given(
    st.builds(
        RouterAdvertisement,
        router_lifetime=st.integers(0, 0xFFFF),
        routes=st.lists(routes, max_size=5).map(tuple),
    )
)
def test_what_was_written_is_read_back(advertisement: RouterAdvertisement) -> None:
    assert read_advertisement(write_advertisement(advertisement)) == advertisement


@pytest.mark.parametrize("length", range(len(HEAD + ROUTE)))
def test_every_cut_is_refused_but_the_one_between_options(length: int) -> None:
    cut = (HEAD + ROUTE)[:length]

    if length == len(HEAD):
        assert read_advertisement(cut) == RouterAdvertisement()
    else:
        with pytest.raises(Truncated):
            read_advertisement(cut)


def test_options_of_others_are_skipped() -> None:
    link_address = bytes.fromhex("0101 020000000001")

    assert read_advertisement(HEAD + link_address + ROUTE).routes == (SITE,)


@pytest.mark.parametrize(
    "option",
    [
        "1800400000000258",
        "1801400000000258",
        "1804400000000258" + "00" * 24,
        "18038100" + "00" * 20,
    ],
    ids=["no length", "too short", "too long", "129 bits"],
)
def test_an_option_that_contradicts_itself_is_refused(option: str) -> None:
    with pytest.raises(Malformed):
        read_advertisement(HEAD + bytes.fromhex(option))


def test_a_route_of_the_reserved_preference_is_skipped() -> None:
    reserved = bytearray(ROUTE)
    reserved[3] = 2 << 3

    assert read_advertisement(HEAD + bytes(reserved)).routes == ()


def test_bits_after_the_prefix_do_not_count() -> None:
    longer = bytes.fromhex("18023c00 00000258 fd0a00010000000f")

    assert read_advertisement(HEAD + longer).routes[0].prefix == IPv6Network("fd0a:1::/60")


@given(st.binary(max_size=80))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    try:
        read_advertisement(noise)
    except WireError:
        return
    assert noise[:2] == b"\x86\x00"


@given(st.integers(0, len(HEAD + ROUTE) - 1), st.integers(0, 255))
def test_a_flipped_octet_is_refused_or_read(place: int, value: int) -> None:
    bent = bytearray(HEAD + ROUTE)
    bent[place] = value
    try:
        found = read_advertisement(bytes(bent)).routes
    except WireError:
        return
    assert len(found) <= 1


def test_a_solicitation_is_known_with_and_without_the_address_of_who_asks() -> None:
    address = bytes.fromhex("0101 020000000001")

    assert is_solicitation(write_solicitation())
    assert is_solicitation(write_solicitation() + address)


@pytest.mark.parametrize("raw", ["", "850000", "8600000000000000", "850000000000000001"])
def test_what_is_no_solicitation_asks_for_nothing(raw: str) -> None:
    assert not is_solicitation(bytes.fromhex(raw))


@given(st.lists(routes, max_size=300))
def test_many_routes_are_spread_over_packets_that_fit_every_link(
    many: list[RouteInformation],
) -> None:
    packets = tuple(in_packets(many))

    assert [r for p in packets for r in p.routes] == many
    assert all(len(write_advertisement(p)) <= ROOM for p in packets)
