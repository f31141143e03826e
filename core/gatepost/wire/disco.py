"""Path discovery packets ("disco"). Source: protocol document 2.1 and 2.2.

Around every message, on UDP as well as inside a DERP packet:

     0                6                38               62
    +----------------+----------------+----------------+-----------------------+
    | 54 53 F0 9F 92 | sender's disco | nonce, random  | NaCl box: tag (16) and |
    | AC             | public key, 32 | 24             | the message            |
    +----------------+----------------+----------------+-----------------------+

The message:

     0        1           2
    +--------+-----------+---------------------------------------------------+
    | type 1 | version 1 | payload                                           |
    +--------+-----------+---------------------------------------------------+
    1 Ping         transaction 12, node key of the sender 32 (old nodes leave
                   it out), then zeros (they make the packet as long as a probe
                   of the path's MTU wants it)
    2 Pong         transaction 12, address 16, port 2: where the ping came from
    3 CallMeMaybe  any number of (address 16, port 2)

    4 to 9         messages of peer relays, see `wire.disco_relay`

Addresses of IPv4 are written as ::ffff:a.b.c.d; numbers are big-endian. What
follows a known payload is ignored, and so is an unknown type: both are room
for newer nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.wire.box import OVERHEAD, SharedKeys
from gatepost.wire.disco_fields import (
    ENDPOINT_LENGTH,
    TRANSACTION_LENGTH,
    exactly,
    need,
    read_endpoint,
    read_endpoints,
    write_endpoint,
    write_endpoints,
)
from gatepost.wire.disco_relay import RelayMessage, read_relay_message, write_relay_message

MAGIC = b"TS\xf0\x9f\x92\xac"
HEADER_LENGTH = len(MAGIC) + KEY_LENGTH
SHORTEST = HEADER_LENGTH + OVERHEAD + 2

_PING, _PONG, _CALL_ME_MAYBE = 1, 2, 3
_VERSION = 0
# Of these another version is not read as this one, as in the field; the others only grow.
_VERSIONED = frozenset({3, 7, 8, 9})


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a `Pong` by the same way. `transaction` is 12 bytes; `padding` zeros follow."""

    transaction: bytes
    node: NodePublic | None = None
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer; `source` is where the ping came from, as the answering node saw it."""

    transaction: bytes
    source: Endpoint


@dataclass(frozen=True, slots=True)
class CallMeMaybe:
    """Ask the receiver to ping these addresses of ours now. Travels by DERP only."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A message of a type, or of a version of one, that this node does not know."""

    type: int


Message = Ping | Pong | CallMeMaybe | RelayMessage
AnyMessage = Message | Other


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet whose box is still closed; `sealed` is nonce, tag and encrypted text."""

    sender: DiscoPublic
    sealed: bytes


def is_disco(packet: bytes) -> bool:
    """Tell a disco packet from WireGuard and STUN by its first six bytes."""
    return packet.startswith(MAGIC)


def read_packet(packet: bytes) -> Packet:
    """Split the outer packet; the sender is not proved before the box opens.

    Raise `Truncated` when it is shorter than any message, `Malformed` when it
    does not begin with the magic.
    """
    if not is_disco(packet):
        raise Malformed(f"a disco packet begins with {MAGIC.hex()}, not {packet[:6].hex()}")
    if len(packet) < SHORTEST:
        raise Truncated(f"a disco packet of {len(packet)} bytes is under {SHORTEST}")
    return Packet(DiscoPublic(packet[len(MAGIC) : HEADER_LENGTH]), packet[HEADER_LENGTH:])


def open_packet(packet: Packet, keys: SharedKeys) -> AnyMessage:
    """Open the box and read the message; raise `Unauthentic`, `Truncated` or `Malformed`."""
    return read_message(keys.open(packet.sender, packet.sealed))


def seal_packet(
    message: Message, sender: DiscoPublic, receiver: DiscoPublic, keys: SharedKeys, nonce: bytes
) -> bytes:
    """Write the whole packet; `keys` are those of `sender`, `nonce` is 24 bytes, used once."""
    return MAGIC + sender.raw + keys.seal(receiver, write_message(message), nonce)


def read_message(plain: bytes) -> AnyMessage:
    """Read what was inside the box; raise `Truncated` when the payload is too short."""
    if len(plain) < 2:  # noqa: PLR2004  # type and version
        raise Truncated(f"a disco message of {len(plain)} bytes has no type and version")
    kind, version, payload = plain[0], plain[1], plain[2:]
    if version != _VERSION and kind in _VERSIONED:
        return Other(kind)
    match kind:
        case 1:
            return _read_ping(payload)
        case 2:
            return _read_pong(payload)
        case 3:
            return CallMeMaybe(read_endpoints(payload))
        case _:
            return read_relay_message(kind, payload) or Other(kind)


def write_message(message: Message) -> bytes:
    """Write type, version and payload."""
    match message:
        case Ping():
            node = message.node.raw if message.node else b""
            kind, payload = _PING, _transaction(message.transaction) + node + bytes(message.padding)
        case Pong():
            source = write_endpoint(message.source)
            kind, payload = _PONG, _transaction(message.transaction) + source
        case CallMeMaybe():
            kind, payload = _CALL_ME_MAYBE, write_endpoints(message.endpoints)
        case _:
            kind, payload = write_relay_message(message)
    return bytes((kind, _VERSION)) + payload


def _read_ping(payload: bytes) -> Ping:
    """Read a ping; padding shorter than a key cannot be told from no key, and is padding."""
    need(payload, TRANSACTION_LENGTH)
    transaction, rest = payload[:TRANSACTION_LENGTH], payload[TRANSACTION_LENGTH:]
    if len(rest) < KEY_LENGTH:
        return Ping(transaction, None, len(rest))
    node = NodePublic(rest[:KEY_LENGTH])
    return Ping(transaction, None if node.is_zero else node, len(rest) - KEY_LENGTH)


def _read_pong(payload: bytes) -> Pong:
    need(payload, TRANSACTION_LENGTH + ENDPOINT_LENGTH)
    source = read_endpoint(payload[TRANSACTION_LENGTH : TRANSACTION_LENGTH + ENDPOINT_LENGTH])
    if source is None:
        raise Malformed("a pong with source port 0")
    return Pong(payload[:TRANSACTION_LENGTH], source)


def _transaction(raw: bytes) -> bytes:
    return exactly(raw, TRANSACTION_LENGTH, "transaction")
