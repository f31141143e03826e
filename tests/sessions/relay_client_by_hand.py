"""A client of a peer relay that a test leads by the hand."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import count

from gatepost.model.keys import DiscoPrivate, DiscoPublic
from gatepost.wire.box import SharedKeys
from gatepost.wire.disco import Ping, open_packet, read_packet, seal_packet
from gatepost.wire.disco_relay import BindAnswer, BindChallenge, RelayMessage
from gatepost.wire.geneve import DISCO, Geneve, read_geneve, write_geneve


def private() -> DiscoPrivate:
    return DiscoPrivate(secrets.token_bytes(32))


@dataclass
class Client:
    """A client that does the handshake as the protocol says, or as a test wants it."""

    key: DiscoPrivate = field(default_factory=private)
    generations: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.keys = SharedKeys(self.key)

    def packet(self, message: RelayMessage | Ping, relay: DiscoPublic, vni: int) -> bytes:
        sealed = seal_packet(message, self.key.public, relay, self.keys, secrets.token_bytes(24))
        return write_geneve(Geneve(vni, DISCO, is_control=True), sealed)

    def answer(self, challenge: bytes) -> BindAnswer:
        """Return what a challenge, Geneve header included, asks for."""
        _, inner = read_geneve(challenge)
        message = open_packet(read_packet(inner), self.keys)
        assert isinstance(message, BindChallenge)
        return BindAnswer(
            vni=message.vni,
            generation=message.generation,
            remote=message.remote,
            challenge=message.challenge,
        )
