"""DERP frames: the relay's language inside TLS.

    offset  size  meaning
    0       1     type
    1       4     length n of the body, big-endian
    5       n     body

    type  name           way   body
    01    ServerKey      S>C   8 magic 44 45 52 50 F0 9F 94 91, 32 server key, rest ignored
    02    ClientInfo     C>S   32 client key, box (nonce 24, tag 16, JSON `ClientGreeting`)
    03    ServerInfo     S>C   box (JSON `ServerGreeting`)
    04    SendPacket     C>S   32 destination, payload up to 64 KiB
    05    ReceivePacket  S>C   32 source, payload up to 64 KiB
    06    KeepAlive      S>C   nothing; every 60 s
    07    NotePreferred  C>S   1: 01 this server is my home, 00 no longer
    08    PeerGone       S>C   32 peer, 1 reason (absent: 0)
    09    PeerPresent    S>C   32 peer, 16 address, 2 port, 1 flags (mesh only)
    0a    ForwardPacket  mesh  32 source, 32 destination, payload
    10    WatchPeers     mesh  nothing
    11    ClosePeer      mesh  32 peer
    12    Ping           both  8 token, up to 1000 bytes in all
    13    Pong           both  8 token
    14    Health         S>C   UTF-8 text; empty is healthy
    15    Restarting     S>C   4 milliseconds until reconnect, 4 milliseconds to try for

A type that is not listed reads as `Unknown` and must be skipped. The mesh
frames need a key that servers of one region share; Gatepost runs one server
per region and refuses them. Source: protocol document 3.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from gatepost.errors import Malformed, Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.keys import NodePublic
from gatepost.wire.box import OVERHEAD
from gatepost.wire.derp_frames import (
    ClientInfo,
    ClosePeer,
    ForwardPacket,
    Frame,
    GoneReason,
    Health,
    KeepAlive,
    Kind,
    NotePreferred,
    PeerGone,
    PeerPresent,
    Ping,
    Pong,
    ReceivePacket,
    Restarting,
    SendPacket,
    ServerInfo,
    ServerKey,
    Unknown,
    WatchPeers,
)

VERSION = 2
MAGIC = b"DERP\xf0\x9f\x94\x91"
HEADER_LENGTH = 5  # bytes
PACKET_LIMIT = 64 << 10  # bytes of payload
BODY_LIMIT = 1 << 20  # bytes; what an official client reads at most
CLIENT_INFO_LIMIT = 256 << 10  # bytes; its sender is not known yet
PING_LIMIT = 1000  # bytes
TOKEN_LENGTH = 8  # bytes
KEEP_ALIVE = 60.0  # seconds between KeepAlive frames, plus up to 5 of jitter
DISCO_MAGIC = b"TS\xf0\x9f\x92\xac"

_HEADER = struct.Struct(">BI")
_RESTARTING = struct.Struct(">II")
_ENDPOINT_LENGTH = 18  # bytes: address and port


def write_frame(frame: Frame) -> bytes:
    """Return header and body; raise `Malformed` for a body over the limits."""
    kind, body = _body_of(frame)
    if len(body) > BODY_LIMIT:
        raise Malformed(f"a DERP body of {len(body)} bytes is over {BODY_LIMIT}")
    return _HEADER.pack(kind, len(body)) + body


def write_packet(destination: NodePublic, payload: bytes) -> bytes:
    """Return a SendPacket frame, as `write_frame` would, in a third of the time."""
    head = _HEADER.pack(Kind.SEND_PACKET, KEY_LENGTH + len(payload))
    return head + destination.raw + _payload(payload)


def read_header(buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """Return type and body length of the header at `offset`, whose 5 bytes must be there.

    Raise `Malformed` for a length that no frame of that type may have.
    """
    kind, length = _HEADER.unpack_from(buffer, offset)
    limit = _LIMITS.get(kind, BODY_LIMIT)
    if length > limit:
        raise Malformed(f"DERP frame {kind:02x} of {length} bytes is over {limit}")
    return kind, length


def read_frame(kind: int, body: bytes) -> Frame:
    """Read the body of one frame; raise `Truncated` or `Malformed`."""
    reader = _READERS.get(kind)
    return Unknown(kind, body) if reader is None else reader(body)


class FrameReader:
    """Bytes in, frames out. For greetings and tests; packets in bulk have a faster way.

    Holds at most one unfinished frame: `BODY_LIMIT` bytes and its header.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The bytes behind the last whole frame."""
        return self._rest

    def receive(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now; a caller may stop early and go on with `rest`."""
        self._rest += data
        while len(self._rest) >= HEADER_LENGTH:
            kind, length = read_header(self._rest)
            end = HEADER_LENGTH + length
            if len(self._rest) < end:
                return
            body = self._rest[HEADER_LENGTH:end]
            self._rest = self._rest[end:]
            yield read_frame(kind, body)


def _body_of(frame: Frame) -> tuple[int, bytes]:
    match frame:
        case SendPacket(key, payload):
            return Kind.SEND_PACKET, key.raw + _payload(payload)
        case ReceivePacket(key, payload):
            return Kind.RECEIVE_PACKET, key.raw + _payload(payload)
        case ForwardPacket(source=source, destination=destination, payload=payload):
            return Kind.FORWARD_PACKET, source.raw + destination.raw + _payload(payload)
        case ServerKey() | ClientInfo() | ServerInfo():
            return _greeting_of(frame)
        case PeerGone() | PeerPresent() | ClosePeer():
            return _peer_body_of(frame)
        case _:
            return _notice_of(frame)


def _greeting_of(frame: ServerKey | ClientInfo | ServerInfo) -> tuple[int, bytes]:
    match frame:
        case ServerKey(key):
            return Kind.SERVER_KEY, MAGIC + key.raw
        case ClientInfo(key, sealed):
            return Kind.CLIENT_INFO, key.raw + sealed
        case ServerInfo(sealed):
            return Kind.SERVER_INFO, sealed


def _peer_body_of(frame: PeerGone | PeerPresent | ClosePeer) -> tuple[int, bytes]:
    match frame:
        case PeerGone(peer, reason):
            return Kind.PEER_GONE, peer.raw + bytes((reason,))
        case PeerPresent(peer, details):
            return Kind.PEER_PRESENT, peer.raw + details
        case ClosePeer(peer):
            return Kind.CLOSE_PEER, peer.raw


def _notice_of(
    frame: KeepAlive | NotePreferred | WatchPeers | Ping | Pong | Health | Restarting | Unknown,
) -> tuple[int, bytes]:
    match frame:
        case KeepAlive():
            return Kind.KEEP_ALIVE, b""
        case WatchPeers():
            return Kind.WATCH_PEERS, b""
        case NotePreferred(preferred):
            return Kind.NOTE_PREFERRED, bytes((preferred,))
        case Ping(token) | Pong(token):
            kind = Kind.PING if isinstance(frame, Ping) else Kind.PONG
            return kind, _exactly(token, TOKEN_LENGTH)
        case _:
            return _text_of(frame)


def _text_of(frame: Health | Restarting | Unknown) -> tuple[int, bytes]:
    match frame:
        case Health(problem):
            return Kind.HEALTH, problem.encode()
        case Restarting(reconnect_in=wait, try_for=duration):
            return Kind.RESTARTING, _RESTARTING.pack(wait, duration)
        case Unknown(kind, body):
            return kind, body


def _payload(payload: bytes) -> bytes:
    if len(payload) > PACKET_LIMIT:
        raise Malformed(f"a DERP packet of {len(payload)} bytes is over {PACKET_LIMIT}")
    return payload


def _exactly(value: bytes, length: int) -> bytes:
    if len(value) != length:
        raise Malformed(f"{length} bytes are needed here, not {len(value)}")
    return value


def _at_least(body: bytes, length: int, name: str) -> bytes:
    if len(body) < length:
        raise Truncated(f"a DERP {name} has at least {length} bytes, not {len(body)}")
    return body


def _split(body: bytes, name: str, extra: int = 0) -> tuple[NodePublic, bytes]:
    _at_least(body, KEY_LENGTH + extra, name)
    return NodePublic(body[:KEY_LENGTH]), body[KEY_LENGTH:]


def _read_server_key(body: bytes) -> ServerKey:
    _at_least(body, len(MAGIC) + KEY_LENGTH, "server key")
    if not body.startswith(MAGIC):
        raise Malformed(f"{body[:8].hex()} is not the DERP magic")
    return ServerKey(NodePublic(body[len(MAGIC) : len(MAGIC) + KEY_LENGTH]))


def _read_server_info(body: bytes) -> ServerInfo:
    return ServerInfo(_at_least(body, OVERHEAD, "server info"))


def _read_note_preferred(body: bytes) -> NotePreferred:
    if body not in {b"\0", b"\1"}:
        raise Malformed(f"a DERP preference is 00 or 01, not {body[:8].hex() or 'nothing'}")
    return NotePreferred(body == b"\1")


def _read_peer_gone(body: bytes) -> PeerGone:
    peer, rest = _split(body, "peer gone")
    return PeerGone(peer, rest[0] if rest else GoneReason.DISCONNECTED)


def _read_peer_present(body: bytes) -> PeerPresent:
    peer, rest = _split(body, "peer present")
    if 0 < len(rest) < _ENDPOINT_LENGTH:
        raise Truncated(f"a DERP peer's address has {_ENDPOINT_LENGTH} bytes, not {len(rest)}")
    return PeerPresent(peer, rest)


def _read_forward_packet(body: bytes) -> ForwardPacket:
    source, rest = _split(body, "forwarded packet")
    destination, payload = _split(rest, "forwarded packet")
    return ForwardPacket(source=source, destination=destination, payload=payload)


def _read_health(body: bytes) -> Health:
    try:
        return Health(body.decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"a DERP health text is not UTF-8: {error}") from error


def _read_restarting(body: bytes) -> Restarting:
    wait, duration = _RESTARTING.unpack_from(_at_least(body, _RESTARTING.size, "restart notice"))
    return Restarting(reconnect_in=wait, try_for=duration)


_READERS: dict[int, Callable[[bytes], Frame]] = {
    Kind.SERVER_KEY: _read_server_key,
    Kind.CLIENT_INFO: lambda body: ClientInfo(*_split(body, "client info", OVERHEAD)),
    Kind.SERVER_INFO: _read_server_info,
    Kind.SEND_PACKET: lambda body: SendPacket(*_split(body, "packet")),
    Kind.RECEIVE_PACKET: lambda body: ReceivePacket(*_split(body, "packet")),
    Kind.KEEP_ALIVE: lambda _: KeepAlive(),
    Kind.NOTE_PREFERRED: _read_note_preferred,
    Kind.PEER_GONE: _read_peer_gone,
    Kind.PEER_PRESENT: _read_peer_present,
    Kind.FORWARD_PACKET: _read_forward_packet,
    Kind.WATCH_PEERS: lambda _: WatchPeers(),
    Kind.CLOSE_PEER: lambda body: ClosePeer(_split(body, "close request")[0]),
    Kind.PING: lambda body: Ping(_at_least(body, TOKEN_LENGTH, "ping")[:TOKEN_LENGTH]),
    Kind.PONG: lambda body: Pong(_at_least(body, TOKEN_LENGTH, "pong")[:TOKEN_LENGTH]),
    Kind.HEALTH: _read_health,
    Kind.RESTARTING: _read_restarting,
}
_LIMITS: dict[int, int] = {
    Kind.CLIENT_INFO: CLIENT_INFO_LIMIT,
    Kind.SEND_PACKET: KEY_LENGTH + PACKET_LIMIT,
    Kind.RECEIVE_PACKET: KEY_LENGTH + PACKET_LIMIT,
    Kind.FORWARD_PACKET: 2 * KEY_LENGTH + PACKET_LIMIT,
    Kind.PING: PING_LIMIT,
    Kind.PONG: PING_LIMIT,
}
