"""The DERP frames as values, and the JSON inside the two greetings.

Layouts and limits are drawn in `gatepost.wire.derp`, which reads and writes
them. Source: protocol document 3.2.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from msgspec import field

from gatepost.model.keys import NodePublic
from gatepost.wire.go_json import Message


class Kind(enum.IntEnum):
    """The first byte of a frame."""

    SERVER_KEY = 0x01
    CLIENT_INFO = 0x02
    SERVER_INFO = 0x03
    SEND_PACKET = 0x04
    RECEIVE_PACKET = 0x05
    KEEP_ALIVE = 0x06
    NOTE_PREFERRED = 0x07
    PEER_GONE = 0x08
    PEER_PRESENT = 0x09
    FORWARD_PACKET = 0x0A
    WATCH_PEERS = 0x10
    CLOSE_PEER = 0x11
    PING = 0x12
    PONG = 0x13
    HEALTH = 0x14
    RESTARTING = 0x15


class GoneReason(enum.IntEnum):
    """Why a peer is gone; other numbers are kept as they are."""

    DISCONNECTED = 0
    NOT_HERE = 1
    MESH_BROKE = 0xF0


@dataclass(frozen=True, slots=True)
class ServerKey:
    key: NodePublic


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """`sealed` is a box from `key` to the server that holds a `ClientGreeting`."""

    key: NodePublic
    sealed: bytes


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """`sealed` is a box from the server that holds a `ServerGreeting`."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class SendPacket:
    destination: NodePublic
    payload: bytes


@dataclass(frozen=True, slots=True)
class ReceivePacket:
    source: NodePublic
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    pass


@dataclass(frozen=True, slots=True)
class NotePreferred:
    preferred: bool


@dataclass(frozen=True, slots=True)
class PeerGone:
    """`reason` is a `GoneReason` or a number that this version does not know."""

    peer: NodePublic
    reason: int


@dataclass(frozen=True, slots=True)
class PeerPresent:
    """`details` is address, port and flags as they came: empty, 18 or more bytes."""

    peer: NodePublic
    details: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPacket:
    source: NodePublic
    destination: NodePublic
    payload: bytes


@dataclass(frozen=True, slots=True)
class WatchPeers:
    pass


@dataclass(frozen=True, slots=True)
class ClosePeer:
    peer: NodePublic


@dataclass(frozen=True, slots=True)
class Ping:
    """`token` is 8 bytes that the `Pong` brings back."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    token: bytes


@dataclass(frozen=True, slots=True)
class Health:
    """`problem` says what is wrong with this connection; empty means healthy again."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarting:
    """The server will be away: come back after `reconnect_in`, try for `try_for` milliseconds."""

    reconnect_in: int
    try_for: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame of a later version, to be skipped."""

    kind: int
    body: bytes


Frame = (
    ServerKey
    | ClientInfo
    | ServerInfo
    | SendPacket
    | ReceivePacket
    | KeepAlive
    | NotePreferred
    | PeerGone
    | PeerPresent
    | ForwardPacket
    | WatchPeers
    | ClosePeer
    | Ping
    | Pong
    | Health
    | Restarting
    | Unknown
)


class ClientGreeting(Message, frozen=True, kw_only=True):
    """What a client says of itself, inside the box of `ClientInfo`."""

    mesh_key: str = field(default="", name="meshKey")
    version: int = field(default=0, name="version")
    can_ack_pings: bool = field(default=False, name="CanAckPings")
    is_prober: bool = field(default=False, name="IsProber")
    app_name: str = field(default="", name="AppName")


class ServerGreeting(Message, frozen=True, kw_only=True):
    """What a server says of itself; the rates are bytes per second and bytes, 0 is no limit."""

    version: int = field(default=0, name="version")
    rate: int = field(default=0, name="TokenBucketBytesPerSecond")
    burst: int = field(default=0, name="TokenBucketBytesBurst")
