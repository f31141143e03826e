"""What may come in from the network: opened, judged by the way it came, or dropped."""

from __future__ import annotations

import secrets
import time
import tracemalloc
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from gatepost.model.keys import DiscoPrivate, DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.net.paths_proxy import ProxyAddresses
from gatepost.net.paths_radio import Listener, Radio
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, ByUdp, Send, Way
from gatepost.wire.box import SharedKeys
from gatepost.wire.disco import AnyMessage, CallMeMaybe, Message, Ping, seal_packet
from gatepost.wire.disco_relay import BindChallenge

US, PEER, STRANGER = (DiscoPrivate(bytes(31) + bytes((n,))) for n in (1, 2, 3))
KNOWN = PEER.public
NODE = NodePublic(bytes(31) + b"\2")
ADDRESS = Endpoint(ip_address("203.0.113.1"), 5000)
BY_UDP, BY_DERP, BY_RELAY = ByUdp(ADDRESS), ByDerp(900, NODE), ByRelay(ADDRESS, 7)
PING = Ping(bytes(12), NODE)
FLOOD = 5_000  # packets
CHALLENGE = BindChallenge(vni=7, generation=1, remote=PEER.public, challenge=bytes(range(32)))


@dataclass
class Ears:
    """Remembers what was heard; knows one peer."""

    messages: list[tuple[DiscoPublic, AnyMessage, Way]] = field(
        default_factory=list[tuple[DiscoPublic, AnyMessage, Way]]
    )
    opened: int = 0

    def is_known(self, sender: DiscoPublic) -> bool:
        self.opened += sender == KNOWN
        return sender == KNOWN

    def hear(self, sender: DiscoPublic, message: AnyMessage, way: Way) -> None:
        self.messages.append((sender, message, way))


def nothing(*_: object) -> None:
    """Hear nothing."""


def same(endpoint: Endpoint) -> Endpoint:
    return endpoint


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def radio(ears: Ears) -> Radio:
    """Return a radio whose sockets are closed; packets are given to it by hand."""
    return Radio(
        US,
        41641,
        ProxyAddresses(41643),
        random_bytes=secrets.token_bytes,
        listener=Listener(
            is_known=ears.is_known,
            on_message=ears.hear,
            on_stun=nothing,
            on_outbound=nothing,
            on_relayed=nothing,
            on_straight=nothing,
            outward=lambda way: way.server,
            inward=same,
            on_batch=nothing,
        ),
    )


def sealed(message: Message, sender: DiscoPrivate = PEER) -> bytes:
    nonce = secrets.token_bytes(24)
    return seal_packet(message, sender.public, US.public, SharedKeys(sender), nonce)


def test_a_peers_message_is_handed_over_with_the_way_it_came(radio: Radio, ears: Ears) -> None:
    for way in (BY_UDP, BY_DERP, BY_RELAY):
        radio.on_disco(sealed(PING), way)

    assert ears.messages == [(PEER.public, PING, way) for way in (BY_UDP, BY_DERP, BY_RELAY)]


def test_a_strangers_box_is_not_even_opened(radio: Radio, ears: Ears) -> None:
    radio.on_disco(sealed(PING, STRANGER), BY_UDP)

    assert (ears.messages, ears.opened) == ([], 0)


def test_a_flood_from_unknown_keys_leaves_nothing_and_costs_less_than_peers(
    radio: Radio, ears: Ears
) -> None:
    peers = [sealed(PING)] * FLOOD
    strangers = [p[:6] + secrets.token_bytes(32) + p[38:] for p in peers]
    tracemalloc.start()
    for packet in strangers:
        radio.on_disco(packet, BY_UDP)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (ears.messages, ears.opened) == ([], 0)
    assert kept < FLOOD  # octets: less than one a packet
    assert spent(radio, strangers) < spent(radio, peers)


def spent(radio: Radio, packets: list[bytes]) -> float:
    """Return the processor time that packets cost."""
    before = time.process_time()
    for packet in packets:
        radio.on_disco(packet, BY_UDP)
    return time.process_time() - before


def test_who_says_a_peers_key_and_does_not_have_it_is_not_heard(radio: Radio, ears: Ears) -> None:
    nonce = secrets.token_bytes(24)
    spoofed = seal_packet(PING, PEER.public, US.public, SharedKeys(STRANGER), nonce)
    radio.on_disco(spoofed, BY_UDP)

    assert ears.messages == []


@pytest.mark.parametrize("length", range(0, len(sealed(PING)), 7))
def test_a_packet_that_ends_early_is_dropped(radio: Radio, ears: Ears, length: int) -> None:
    radio.on_disco(sealed(PING)[:length], BY_UDP)

    assert ears.messages == []


def test_a_binding_comes_with_the_control_bit_and_its_own_number_only(
    radio: Radio, ears: Ears
) -> None:
    radio.on_disco(sealed(CHALLENGE), BY_RELAY, is_control=True)
    radio.on_disco(sealed(CHALLENGE), BY_RELAY)
    radio.on_disco(sealed(CHALLENGE), ByRelay(ADDRESS, 8), is_control=True)
    radio.on_disco(sealed(PING), BY_RELAY, is_control=True)
    radio.on_disco(sealed(CHALLENGE), BY_UDP)

    assert ears.messages == [(PEER.public, CHALLENGE, BY_RELAY)]


def test_a_closed_radio_sends_nothing_and_says_so(radio: Radio) -> None:
    assert not radio.is_open
    assert radio.send_message(sending_by_udp()) == "no IPv4 here"


def sending_by_udp() -> Send:
    return Send(PEER.public, BY_UDP, CallMeMaybe((ADDRESS,)))
