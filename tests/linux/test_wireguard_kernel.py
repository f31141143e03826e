"""The kernel's WireGuard messages, without a kernel that has WireGuard."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.linux.netlink_message import (
    ERROR,
    Message,
    attribute,
    nested,
    read_answer,
    read_attributes,
    read_messages,
    u32,
)
from gatepost.linux.wireguard_kernel import (
    BYTES_PER_MESSAGE,
    read_device,
    read_endpoint,
    read_peer,
    write_device,
    write_endpoint,
)
from gatepost.linux.wireguard_state import DeviceUpdate, PeerUpdate
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import Endpoint, IPNetwork

HEAD = bytes((1, 1, 0, 0))
DEVICE, PEERS = 2, 8
KEY = NodePublic(bytes(range(32)))
ENDPOINTS = st.builds(Endpoint, st.ip_addresses(), st.integers(1, 65535))


def peers_in(body: bytes) -> list[bytes]:
    (peers,) = (p for kind, p in read_attributes(body, 4) if kind == PEERS)
    return [p for _, p in read_attributes(peers)]


def prefixes(count: int) -> tuple[IPNetwork, ...]:
    return tuple(ip_network((0x0A000000 + 256 * n, 24)) for n in range(count))


def answer(*attributes: bytes) -> Message:
    return Message(40, 2, 1, HEAD + b"".join(attributes))


def test_a_device_is_written_as_the_kernel_wants_it() -> None:
    update = DeviceUpdate(private_key=NodePrivate(bytes([7] * 32)), port=41641, mark=0x80000)
    (body,) = write_device("gp0", update, ())
    found = dict(read_attributes(body, 4))

    assert body[:4] == HEAD
    assert found == {
        2: b"gp0\0",
        3: bytes([7] * 32),
        6: struct.pack("=H", 41641),
        7: struct.pack("=I", 0x80000),
    }


@given(ENDPOINTS)
def test_an_endpoint_comes_back_as_it_was(endpoint: Endpoint) -> None:
    packed = write_endpoint(endpoint)

    assert len(packed) == (16 if endpoint.address.version == 4 else 28)
    assert read_endpoint(packed) == endpoint


@given(ENDPOINTS, st.sets(st.ip_addresses(), max_size=5))
def test_a_peer_comes_back_as_it_was(endpoint: Endpoint, addresses: set[object]) -> None:
    allowed = tuple(ip_network(str(a)) for a in addresses)
    peer = PeerUpdate(public_key=KEY, endpoint=endpoint, allowed=allowed, create=True)
    (body,) = write_device("gp0", DeviceUpdate(), [peer])
    (piece,) = peers_in(body)
    state = read_peer(piece)

    assert (state.public_key, state.endpoint) == (KEY, endpoint)
    assert state.allowed == frozenset(allowed)
    assert state.is_plain


def test_a_peer_with_many_prefixes_is_cut_and_only_its_first_piece_replaces() -> None:
    peer = PeerUpdate(public_key=KEY, allowed=prefixes(3000), create=True, replace=True)
    bodies = list(write_device("gp0", DeviceUpdate(), [peer]))
    pieces = [p for body in bodies for p in peers_in(body)]
    flags = [struct.unpack("=I", dict(read_attributes(p))[3])[0] for p in pieces]

    assert len(bodies) > 1
    assert all(len(b) < 2 * BYTES_PER_MESSAGE for b in bodies)
    assert flags == [2, *[4] * (len(pieces) - 1)]
    assert frozenset[IPNetwork]().union(*(read_peer(p).allowed for p in pieces)) == frozenset(
        prefixes(3000)
    )


def test_a_peer_that_continues_in_the_next_message_is_one_peer() -> None:
    def message(key: bytes, network: str) -> Message:
        one = ip_network(network)
        allowed = nested(
            0,
            [
                attribute(1, struct.pack("=H", 2)),
                attribute(2, one.network_address.packed),
                attribute(3, bytes((one.prefixlen,))),
            ],
        )
        peer = nested(0, [attribute(1, key), attribute(7, bytes(8)), nested(9, [allowed])])
        return answer(nested(8, [peer]))

    first = answer(attribute(3, bytes([7] * 32)), attribute(6, struct.pack("=H", 5)), u32(7, 9))
    device = read_device([first, message(KEY.raw, "10.0.0.0/8"), message(KEY.raw, "11.0.0.0/8")])

    assert (device.port, device.mark) == (5, 9)
    assert [p.allowed for p in device.peers] == [
        frozenset(map(ip_network, ("10.0.0.0/8", "11.0.0.0/8")))
    ]


def test_a_device_without_a_key_says_so() -> None:
    assert read_device([answer(attribute(3, bytes(32)))]).private_key is None


@given(st.binary(max_size=300))
def test_noise_is_an_os_error_or_a_device(noise: bytes) -> None:
    try:
        device = read_device([Message(40, 2, 1, HEAD + noise)])
    except OSError:
        return

    assert isinstance(device.peers, tuple)


def test_every_truncation_of_a_peer_is_noticed_or_leaves_whole_attributes() -> None:
    endpoint = Endpoint(ip_address("192.0.2.1"), 5)
    peer = PeerUpdate(public_key=KEY, endpoint=endpoint, allowed=prefixes(1))
    (body,) = write_device("gp0", DeviceUpdate(), [peer])
    (piece,) = peers_in(body)
    noticed = 0
    for size in range(len(piece)):
        try:
            state = read_peer(piece[:size])
        except (Malformed, ValueError):
            noticed += 1
            continue
        # The cut fell between two attributes: what is there is right.
        assert state.public_key == KEY
        assert state.endpoint in {None, endpoint}
        assert state.allowed in {frozenset(), frozenset(prefixes(1))}

    assert noticed > len(piece) * 0.8


# --- netlink itself ------------------------------------------------------------------


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(Malformed, match="message length 7"):
        list(read_messages(struct.pack("=IHHII", 7, 1, 0, 0, 0)))
    with pytest.raises(Malformed, match="attribute length 99"):
        list(read_attributes(struct.pack("=HH", 99, 1)))
    with pytest.raises(Malformed, match="would have 65536"):
        attribute(1, bytes(65532))


def test_the_kernels_own_words_are_found_with_and_without_the_request() -> None:
    words = attribute(1, b"no such thing\0")
    capped = struct.pack("=iIHHII", -22, 24, 1, 0, 1, 0) + words
    whole = struct.pack("=iIHHII", -22, 24, 1, 0, 1, 0) + bytes(8) + words

    for body, flags in ((capped, 0x300), (whole, 0x200)):
        found = read_answer(Message(ERROR, flags, 1, body))
        assert (found.code, found.text) == (22, "no such thing")
    assert read_answer(Message(ERROR, 0, 1, capped)).text == ""
