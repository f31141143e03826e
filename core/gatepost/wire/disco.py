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

Addresses of IPv4 are written as ::ffff:a.b.c.d; numbers are big-endian. What
follows a known payload is ignored, and so is an unknown type: both are room
for newer nodes. Types 4 to 9 belong to peer relays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from gatepost.errors import Malformed, Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.wire.box import OVERHEAD, SharedKeys

MAGIC = b"TS\xf0\x9f\x92\xac"
TRANSACTION_LENGTH = 12
HEADER_LENGTH = len(MAGIC) + KEY_LENGTH
SHORTEST = HEADER_LENGTH + OVERHEAD + 2

_PING, _PONG, _CALL_ME_MAYBE = 1, 2, 3
_VERSION = 0
_ENDPOINT = struct.Struct("!16sH")


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
    """A message of a type that this node does not take part in."""

    type: int


Message = Ping | Pong | CallMeMaybe
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
    payload = plain[2:]
    match plain[0]:
        case 1:
            return _read_ping(payload)
        case 2:
            return _read_pong(payload)
        case 3:
            return CallMeMaybe(_read_endpoints(payload))
        case other:
            return Other(other)


def write_message(message: Message) -> bytes:
    """Write type, version and payload."""
    match message:
        case Ping():
            node = message.node.raw if message.node else b""
            payload = _transaction(message.transaction) + node + bytes(message.padding)
            return bytes((_PING, _VERSION)) + payload
        case Pong():
            payload = _transaction(message.transaction) + _write_endpoint(message.source)
            return bytes((_PONG, _VERSION)) + payload
        case CallMeMaybe():
            payload = b"".join(_write_endpoint(e) for e in message.endpoints)
            return bytes((_CALL_ME_MAYBE, _VERSION)) + payload


def _read_ping(payload: bytes) -> Ping:
    """Read a ping; padding shorter than a key cannot be told from no key, and is padding."""
    _need(payload, TRANSACTION_LENGTH)
    transaction, rest = payload[:TRANSACTION_LENGTH], payload[TRANSACTION_LENGTH:]
    if len(rest) < KEY_LENGTH:
        return Ping(transaction, None, len(rest))
    node = NodePublic(rest[:KEY_LENGTH])
    return Ping(transaction, None if node.is_zero else node, len(rest) - KEY_LENGTH)


def _read_pong(payload: bytes) -> Pong:
    _need(payload, TRANSACTION_LENGTH + _ENDPOINT.size)
    source = _read_endpoint(payload[TRANSACTION_LENGTH : TRANSACTION_LENGTH + _ENDPOINT.size])
    if source is None:
        raise Malformed("a pong with source port 0")
    return Pong(payload[:TRANSACTION_LENGTH], source)


def _read_endpoints(payload: bytes) -> tuple[Endpoint, ...]:
    """Read as many whole addresses as there are; a wrong length means none, as in the field."""
    if len(payload) % _ENDPOINT.size:
        return ()
    found = (
        _read_endpoint(payload[i : i + _ENDPOINT.size])
        for i in range(0, len(payload), _ENDPOINT.size)
    )
    return tuple(e for e in found if e is not None)


def _read_endpoint(field: bytes) -> Endpoint | None:
    """Read 18 bytes; None when the port is 0, which no endpoint has."""
    raw, port = _ENDPOINT.unpack(field)
    address = IPv6Address(raw)
    return Endpoint(address.ipv4_mapped or address, port) if port else None


def _write_endpoint(endpoint: Endpoint) -> bytes:
    raw = endpoint.address.packed
    return _ENDPOINT.pack(bytes(10) + b"\xff\xff" + raw if len(raw) == 4 else raw, endpoint.port)  # noqa: PLR2004  # IPv4


def _transaction(raw: bytes) -> bytes:
    if len(raw) != TRANSACTION_LENGTH:
        raise Malformed(f"a transaction has {TRANSACTION_LENGTH} bytes, not {len(raw)}")
    return raw


def _need(payload: bytes, length: int) -> None:
    if len(payload) < length:
        raise Truncated(f"a payload of {len(payload)} bytes is under {length}")
