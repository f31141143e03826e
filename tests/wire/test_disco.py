"""Disco packets: the reference's bytes, and everything that can be wrong with them."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, Unauthentic, WireError
from gatepost.model.keys import DiscoPrivate, DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.wire.box import SharedKeys
from gatepost.wire.disco import (
    MAGIC,
    SHORTEST,
    CallMeMaybe,
    Message,
    Other,
    Ping,
    Pong,
    is_disco,
    open_packet,
    read_message,
    read_packet,
    seal_packet,
    write_message,
)
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    Allocation,
    BindAnswer,
    BindChallenge,
    BindRelay,
    CallMeMaybeVia,
)

TRANSACTION = bytes(range(1, 13))
NODE = NodePublic(bytes((0, 1, 2)) + bytes(27) + bytes((30, 31)))
V4 = Endpoint(ip_address("1.2.3.4"), 567)
V6 = Endpoint(ip_address("2001::3456"), 789)
# The bytes that the field's own test of its codec expects.
VECTORS: list[tuple[Message, str]] = [
    (Ping(TRANSACTION), "0100 0102030405060708090a0b0c"),
    (Ping(TRANSACTION, NODE), "0100 0102030405060708090a0b0c 000102" + "00" * 27 + "1e1f"),
    (Ping(TRANSACTION, None, 3), "0100 0102030405060708090a0b0c 000000"),
    (
        Ping(TRANSACTION, NODE, 3),
        "0100 0102030405060708090a0b0c 000102" + "00" * 27 + "1e1f 000000",
    ),
    (
        Pong(TRANSACTION, Endpoint(ip_address("2.3.4.5"), 1234)),
        "0200 0102030405060708090a0b0c 00000000000000000000ffff02030405 04d2",
    ),
    (
        Pong(TRANSACTION, Endpoint(ip_address("fed0::12"), 6666)),
        "0200 0102030405060708090a0b0c fed00000000000000000000000000012 1a0a",
    ),
    (CallMeMaybe(()), "0300"),
    (
        CallMeMaybe((V4, V6)),
        "0300 00000000000000000000ffff01020304 0237 20010000000000000000000000003456 0315",
    ),
]
ONE, TWO, RELAY = (
    DiscoPublic(bytes.fromhex(h + "00" * 25 + "1e1f"))
    for h in ("0001020300", "0001020004", "0001020000")
)


class Bind(TypedDict):
    vni: int
    generation: int
    remote: DiscoPublic
    challenge: bytes


BIND: Bind = {"vni": 1, "generation": 2, "remote": RELAY, "challenge": bytes(range(32))}
BIND_TEXT = "00000001 00000002" + "000102" + "00" * 27 + "1e1f" + bytes(range(32)).hex()
ALLOCATION = Allocation(
    relay=RELAY,
    clients=(ONE, TWO),
    lamport=123,
    vni=456,
    bind_lifetime=1_000_000_000,
    steady_lifetime=60_000_000_000,
    addresses=(V4, V6),
)
ALLOCATION_TEXT = (
    RELAY.raw.hex()
    + ONE.raw.hex()
    + TWO.raw.hex()
    + "000000000000007b 000001c8 000000003b9aca00 0000000df8475800"
    + "00000000000000000000ffff01020304 0237 20010000000000000000000000003456 0315"
)
# The same source; the challenge of a `BindRelay` is there, though it means nothing.
RELAY_VECTORS: list[tuple[Message, str]] = [
    (BindRelay(**BIND), "0400" + BIND_TEXT),
    (BindChallenge(**BIND), "0500" + BIND_TEXT),
    (BindAnswer(**BIND), "0600" + BIND_TEXT),
    (CallMeMaybeVia(ALLOCATION), "0700" + ALLOCATION_TEXT),
    (AllocateRequest((ONE, TWO), 1), "0800" + ONE.raw.hex() + TWO.raw.hex() + "00000001"),
    (AllocateResponse(1, ALLOCATION), "0900 00000001" + ALLOCATION_TEXT),
]
ALICE, BOB = DiscoPrivate(bytes(31) + b"\1"), DiscoPrivate(bytes(31) + b"\2")
NONCE = bytes(range(24))

endpoints = st.builds(
    Endpoint,
    st.one_of(
        st.ip_addresses(v=4),
        st.ip_addresses(v=6).filter(lambda a: IPv6Address(a).ipv4_mapped is None),
    ),
    st.integers(1, 65535),
)
transactions = st.binary(min_size=12, max_size=12)
nodes = st.builds(NodePublic, st.binary(min_size=32, max_size=32).filter(any))
numbers, long_numbers = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
discos = st.builds(DiscoPublic, st.binary(min_size=32, max_size=32))
challenges = st.binary(min_size=32, max_size=32)
allocations = st.builds(
    Allocation,
    relay=discos,
    clients=st.tuples(discos, discos),
    lamport=long_numbers,
    vni=numbers,
    bind_lifetime=long_numbers,
    steady_lifetime=long_numbers,
    addresses=st.lists(endpoints, min_size=1, max_size=9).map(tuple),
)
bindings = st.sampled_from((BindRelay, BindChallenge, BindAnswer)).flatmap(
    lambda kind: st.builds(
        kind, vni=numbers, generation=numbers, remote=discos, challenge=challenges
    )
)
messages: st.SearchStrategy[Message] = st.one_of(
    bindings,
    st.builds(CallMeMaybeVia, allocations),
    st.builds(AllocateRequest, st.tuples(discos, discos), numbers),
    st.builds(AllocateResponse, numbers, allocations),
    st.builds(Ping, transactions, nodes, st.integers(0, 1400)),
    st.builds(Ping, transactions, st.none(), st.integers(0, 31)),
    st.builds(Pong, transactions, endpoints),
    st.builds(CallMeMaybe, st.lists(endpoints, max_size=9).map(tuple)),
)


def make_packet(message: Message = VECTORS[1][0]) -> bytes:
    return seal_packet(message, ALICE.public, BOB.public, SharedKeys(ALICE), NONCE)


@pytest.mark.parametrize(("message", "text"), VECTORS + RELAY_VECTORS)
def test_a_message_has_the_bytes_of_the_reference(message: Message, text: str) -> None:
    assert write_message(message) == bytes.fromhex(text)
    assert read_message(bytes.fromhex(text)) == message


@given(messages)
def test_what_was_written_is_read_back_through_the_box(message: Message) -> None:
    packet = read_packet(make_packet(message))

    assert packet.sender == ALICE.public
    assert open_packet(packet, SharedKeys(BOB)) == message


@pytest.mark.parametrize(("message", "shortest"), [(VECTORS[1][0], 14), (VECTORS[4][0], 32)])
def test_a_message_that_ends_early_is_refused(message: Message, shortest: int) -> None:
    whole = write_message(message)

    for length in range(shortest):
        with pytest.raises(Truncated):
            read_message(whole[:length])


@pytest.mark.parametrize(("message", "_"), RELAY_VECTORS)
def test_a_relay_message_that_ends_early_is_refused(message: Message, _: str) -> None:
    whole = write_message(message)
    addresses = 36 if isinstance(message, CallMeMaybeVia | AllocateResponse) else 0
    one_address = len(whole) - addresses // 2 if addresses else len(whole)

    for length in range(one_address):
        with pytest.raises(Truncated):
            read_message(whole[:length])
    for length in range(one_address + 1, len(whole)):
        with pytest.raises(Truncated):
            read_message(whole[:length])


def test_an_allocation_needs_an_address_to_write_to() -> None:
    with pytest.raises(Malformed, match="without an address"):
        write_message(CallMeMaybeVia(dataclasses.replace(ALLOCATION, addresses=())))
    nowhere = bytes.fromhex("0700" + ALLOCATION_TEXT)[:-36] + bytes(18)
    with pytest.raises(Malformed, match="without an address"):
        read_message(nowhere)
    with pytest.raises(Malformed, match="challenge"):
        write_message(BindRelay(vni=1, generation=1, remote=ONE, challenge=b"short"))


@pytest.mark.parametrize("kind", [3, 7, 8, 9])
def test_another_version_is_not_read_as_the_known_one(kind: int) -> None:
    assert read_message(bytes((kind, 1)) + bytes(200)) == Other(kind)


@pytest.mark.parametrize("length", range(SHORTEST))
def test_a_packet_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        read_packet(make_packet()[:length])


@pytest.mark.parametrize("length", range(SHORTEST, len(make_packet())))
def test_a_box_that_ends_early_does_not_open(length: int) -> None:
    with pytest.raises(Unauthentic):
        open_packet(read_packet(make_packet()[:length]), SharedKeys(BOB))


@pytest.mark.parametrize("at", range(len(make_packet())))
def test_a_flipped_bit_anywhere_is_noticed(at: int) -> None:
    packet = bytearray(make_packet())
    packet[at] ^= 1

    with pytest.raises(WireError):
        open_packet(read_packet(bytes(packet)), SharedKeys(BOB))


def test_newer_nodes_may_say_more() -> None:
    pong = write_message(VECTORS[4][0])

    assert read_message(pong + b"more") == VECTORS[4][0]
    assert [read_message(bytes((kind, 0)) + b"?") for kind in (0, 10, 200)] == [
        Other(0),
        Other(10),
        Other(200),
    ]


def test_addresses_that_cannot_be_are_left_out() -> None:
    call = write_message(CallMeMaybe((V4, V6)))

    assert read_message(call[:-1]) == CallMeMaybe(())
    assert read_message(call[:-2] + b"\0\0") == CallMeMaybe((V4,))
    with pytest.raises(Malformed):
        read_message(write_message(VECTORS[4][0])[:-2] + b"\0\0")


def test_the_wrong_transaction_or_nonce_is_never_written() -> None:
    with pytest.raises(Malformed):
        write_message(Ping(b"short"))
    with pytest.raises(Malformed):
        seal_packet(Ping(TRANSACTION), ALICE.public, BOB.public, SharedKeys(ALICE), b"short")


@pytest.mark.parametrize("packet", [b"", b"T", MAGIC[:5], b"\4\0\0\0" + MAGIC, bytes(200)])
def test_other_packets_are_not_disco(packet: bytes) -> None:
    assert not is_disco(packet)
    with pytest.raises(Malformed):
        read_packet(packet)


@given(st.binary(max_size=400))
def test_no_message_breaks_the_reader(plain: bytes) -> None:
    try:
        message = read_message(plain)
    except WireError:
        return
    if isinstance(message, Ping | Pong):
        assert len(message.transaction) == 12
    elif not isinstance(message, Other):
        assert write_message(message)[0] == plain[0]


def test_an_address_of_version_4_stays_one() -> None:
    pong = read_message(write_message(Pong(TRANSACTION, V4)))

    assert isinstance(pong, Pong)
    assert pong.source.address == IPv4Address("1.2.3.4")
