"""Control messages of official nodes inside the tunnel, IP protocol 99. Source: protocol doc. 2.6.

     0       1                9           11
    +-------+----------------+-----------+
    | 'p'   | 8, any         |           |      ping: an answer by the node itself, not its kernel
    | 'o'   | as in the ping | port u16  |      pong: the port of the peer API, 0 is none
    +-------+----------------+-----------+
     0       1                                  33
    +-------+----------------------------------+
    | 'a'   | discovery key 32                 |  the sender's, which may be new
    +-------+----------------------------------+
     0       1          2        3           5                 7
    +-------+----------+--------+-----------+-----------------+-----------+
    | '!'   | protocol | reason | port of   | port that was   | flags u8, |  a connection was
    |       |          |        | the asker | asked for       | optional  |  refused, and why
    +-------+----------+--------+-----------+-----------------+-----------+

Numbers are big-endian. What follows is ignored, and so are other types.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.keys import DiscoPublic

PROTOCOL = 99
COOKIE_LENGTH = 8

_PING, _PONG, _KEY, _REFUSED = b"poa!"
_PONG_TAIL = struct.Struct("!H")
_REFUSAL = struct.Struct("!BBBHH")
_MAYBE = 1


class Reason(enum.Enum):
    """Why a connection was refused."""

    POLICY = ord("A")
    SHIELDS_UP = ord("S")
    NOT_FORWARDING = ord("F")
    FIREWALL = ord("W")
    UNKNOWN_ADDRESS = ord("T")  # an app connector's, that nobody handed out


@dataclass(frozen=True, slots=True)
class TsmpPing:
    """Ask for a pong; `cookie` is 8 bytes."""

    cookie: bytes


@dataclass(frozen=True, slots=True)
class TsmpPong:
    """The answer to a ping with this cookie; `port` is the peer API's, 0 is none."""

    cookie: bytes
    port: int = 0


@dataclass(frozen=True, slots=True)
class DiscoKey:
    """Tell the receiver our discovery key. Who sends it is proved by the tunnel."""

    key: DiscoPublic


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Tell that a connection was refused; `protocol` is IP's number, ports are its two ends.

    `may_be_wrong`: the sender only thinks that it is broken.
    """

    protocol: int
    reason: Reason
    source_port: int
    target_port: int
    may_be_wrong: bool = False


TsmpMessage = TsmpPing | TsmpPong | DiscoKey | Refused


def read_tsmp(payload: bytes) -> TsmpMessage | None:
    """Read what follows the IP header; None for a type or reason that is not known.

    Raise `Truncated` when it is too short.
    """
    match payload[:1]:
        case b"p":
            return TsmpPing(_part(payload, 1, COOKIE_LENGTH))
        case b"o":
            cookie, rest = _part(payload, 1, COOKIE_LENGTH), payload[1 + COOKIE_LENGTH :]
            has_port = len(rest) >= _PONG_TAIL.size
            return TsmpPong(cookie, _PONG_TAIL.unpack_from(rest)[0] if has_port else 0)
        case b"a":
            return DiscoKey(DiscoPublic(_part(payload, 1, KEY_LENGTH)))
        case b"!":
            return _read_refused(payload)
        case b"":
            raise Truncated("a control message without a type")
        case _:
            return None


def write_tsmp(message: TsmpMessage) -> bytes:
    """Write what follows the IP header."""
    match message:
        case TsmpPing(cookie):
            return bytes((_PING,)) + _cookie(cookie)
        case TsmpPong(cookie, port):
            return bytes((_PONG,)) + _cookie(cookie) + _PONG_TAIL.pack(port)
        case DiscoKey(key):
            return bytes((_KEY,)) + key.raw
        case Refused():
            flags = bytes((_MAYBE,)) if message.may_be_wrong else b""
            ports = message.source_port, message.target_port
            head = _REFUSAL.pack(_REFUSED, message.protocol, message.reason.value, *ports)
            return head + flags


def _read_refused(payload: bytes) -> Refused | None:
    _, protocol, reason, source, target = _REFUSAL.unpack(_part(payload, 0, _REFUSAL.size))
    flags = payload[_REFUSAL.size :][:1]
    if reason not in {r.value for r in Reason}:
        return None
    return Refused(
        protocol=protocol,
        reason=Reason(reason),
        source_port=source,
        target_port=target,
        may_be_wrong=bool(flags and flags[0] & _MAYBE),
    )


def _part(payload: bytes, start: int, length: int) -> bytes:
    if len(payload) < start + length:
        raise Truncated(f"a control message of {len(payload)} bytes is under {start + length}")
    return payload[start : start + length]


def _cookie(raw: bytes) -> bytes:
    if len(raw) != COOKIE_LENGTH:
        raise Malformed(f"a cookie has {COOKIE_LENGTH} bytes, not {len(raw)}")
    return raw
