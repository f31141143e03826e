"""WireGuard inside the kernel, by raw generic netlink in batches.

Body of every message (include/uapi/linux/wireguard.h): command u8 | version u8 = 1 |
0 u16, then attributes:

    device  1 index u32 | 2 name | 3 private key 32 | 4 public key 32 | 5 flags u32
            | 6 port u16 | 7 mark u32 | 8 peers (nested list)
    peer    1 public key 32 | 2 pre-shared key 32 | 3 flags u32 | 4 endpoint (sockaddr)
            | 5 keep-alive u16 | 6 last handshake (seconds i64, nanoseconds i64)
            | 7 received u64 | 8 sent u64 | 9 allowed prefixes (nested list)
    prefix  1 family u16 | 2 address 4 or 16 | 3 length u8

A dump comes in several messages; a peer with many prefixes continues in the next
one, under the same key. What every peer has is packed by one `Struct` each and not
attribute by attribute: with a call per attribute, 1,000 peers took Python as long
as the kernel, whose time goes into one multiplication on the curve per new peer.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from gatepost.errors import Malformed
from gatepost.linux import rtnetlink
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import (
    DUMP,
    NESTED,
    Message,
    Request,
    attribute,
    nested,
    read_attributes,
    read_integer,
    text,
    u32,
)
from gatepost.linux.wireguard_state import (
    BackendName,
    DeviceState,
    DeviceUpdate,
    PeerState,
    PeerUpdate,
)
from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import Endpoint, IPNetwork

FAMILY = "wireguard"
GET_DEVICE, SET_DEVICE = 0, 1
_HEADER = struct.Struct("=BBxx")
_TIME = struct.Struct("=qq")

_NAME, _PRIVATE, _PORT, _MARK, _PEERS = 2, 3, 6, 7, 8
_PUBLIC, _PRESHARED, _FLAGS, _ENDPOINT, _KEEPALIVE = 1, 2, 3, 4, 5
_HANDSHAKE, _RECEIVED, _SENT, _ALLOWED = 6, 7, 8, 9
_REMOVE, _REPLACE, _UPDATE_ONLY = 1, 2, 4
_PREFIX_FAMILY, _PREFIX_ADDRESS, _PREFIX_LENGTH = 1, 2, 3

PREFIXES_PER_PIECE = 256  # of one peer in one message; 36 bytes each at most
BYTES_PER_MESSAGE = 24_000  # of peers; far below the 65,535 that an attribute can hold

# Each attribute begins with its length u16 and type u16, and is padded to a multiple of 4.
_PEER = struct.Struct("=HH32s HHI")  # public key, flags
_PREFIX4 = struct.Struct("=HH HHH2x HH4s HHB3x")  # the list's item around it, family, …
_PREFIX6 = struct.Struct("=HH HHH2x HH16s HHB3x")  # … address, length
_SOCKADDR4 = struct.Struct("=H2s4s8x")  # family, port in network order, address
_SOCKADDR6 = struct.Struct("=H2s4x16s4x")


class KernelBackend:
    """The kernel's own WireGuard."""

    name: BackendName = "kernel"

    def __init__(self, netlink: Netlink, family: int) -> None:
        self._netlink = netlink
        self._family = family

    @classmethod
    async def probe(cls, netlink: Netlink) -> KernelBackend | None:
        """Return None when the kernel has no WireGuard; asking loads the module."""
        try:
            family = await netlink.run(lambda: netlink.generic.family(FAMILY))
        except FileNotFoundError:
            return None
        return cls(netlink, family)

    async def create(self, device: str) -> None:
        await self._netlink.write([rtnetlink.add_link(device, "wireguard")])

    async def owns(self, device: str, kind: str) -> bool:  # noqa: ARG002  # the kind tells all
        return kind == "wireguard"

    async def read(self, device: str) -> DeviceState:
        request = Request(
            self._family, DUMP, _HEADER.pack(GET_DEVICE, 1) + text(_NAME, device), device
        )

        def ask() -> DeviceState:
            return read_device(self._netlink.generic.ask(request))

        try:
            return await self._netlink.run(ask)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise FileNotFoundError(errno.ENOENT, f"no device {device}") from error
            raise

    async def write(self, device: str, update: DeviceUpdate, peers: Sequence[PeerUpdate]) -> None:
        def send() -> None:
            bodies = write_device(device, update, peers)
            requests = [Request(self._family, 0, b, f"WireGuard device {device}") for b in bodies]
            self._netlink.generic.write(requests)

        await self._netlink.run(send)


# --- values to bytes -------------------------------------------------------------


def write_device(device: str, update: DeviceUpdate, peers: Sequence[PeerUpdate]) -> Iterator[bytes]:
    """Yield the bodies that carry this out, in order, each small enough for one message."""
    head = _HEADER.pack(SET_DEVICE, 1) + text(_NAME, device)
    if update:
        body = head
        if update.private_key is not None:
            body += attribute(_PRIVATE, update.private_key.raw)
        if update.port is not None:
            body += attribute(_PORT, struct.pack("=H", update.port))
        if update.mark is not None:
            body += u32(_MARK, update.mark)
        yield body
    batch: list[bytes] = []
    size = 0
    for piece in (p for peer in peers for p in _peer_pieces(peer)):
        if batch and size + len(piece) > BYTES_PER_MESSAGE:
            yield head + nested(_PEERS, batch)
            batch, size = [], 0
        batch.append(piece)
        size += len(piece)
    if batch:
        yield head + nested(_PEERS, batch)


def _peer_pieces(peer: PeerUpdate) -> Iterator[bytes]:
    """Yield the peer, in several pieces when it has many prefixes."""
    prefixes = peer.allowed
    flags = (_REMOVE if peer.remove else 0) | (_REPLACE if peer.replace else 0)
    parts = [_peer_head(peer, flags if peer.create else flags | _UPDATE_ONLY)]
    if peer.endpoint is not None:
        parts.append(attribute(_ENDPOINT, write_endpoint(peer.endpoint)))
    if peer.create:
        # Said of every new peer: it may be one that someone made by hand.
        parts.append(attribute(_PRESHARED, peer.preshared.raw if peer.preshared else bytes(32)))
        parts.append(attribute(_KEEPALIVE, struct.pack("=H", peer.keepalive)))
    if prefixes:
        parts.append(nested(_ALLOWED, map(_prefix, prefixes[:PREFIXES_PER_PIECE])))
    yield nested(0, parts)
    for start in range(PREFIXES_PER_PIECE, len(prefixes), PREFIXES_PER_PIECE):
        more = prefixes[start : start + PREFIXES_PER_PIECE]
        yield nested(0, [_peer_head(peer, _UPDATE_ONLY), nested(_ALLOWED, map(_prefix, more))])


def _peer_head(peer: PeerUpdate, flags: int) -> bytes:
    return _PEER.pack(36, _PUBLIC, peer.public_key.raw, 8, _FLAGS, flags)


def _prefix(prefix: IPNetwork) -> bytes:
    packed = prefix.network_address.packed
    shape, family = (_PREFIX4, socket.AF_INET) if len(packed) == 4 else (_PREFIX6, socket.AF_INET6)  # noqa: PLR2004
    return shape.pack(
        *(shape.size, NESTED),
        *(6, _PREFIX_FAMILY, family),
        *(4 + len(packed), _PREFIX_ADDRESS, packed),
        *(5, _PREFIX_LENGTH, prefix.prefixlen),
    )


def write_endpoint(endpoint: Endpoint) -> bytes:
    """Return a sockaddr: family u16 | port u16 BE | … (16 bytes for IPv4, 28 for IPv6)."""
    port = endpoint.port.to_bytes(2, "big")
    packed = endpoint.address.packed
    if len(packed) == 4:  # noqa: PLR2004
        return _SOCKADDR4.pack(socket.AF_INET, port, packed)
    return _SOCKADDR6.pack(socket.AF_INET6, port, packed)


# --- bytes to values -------------------------------------------------------------


def read_device(messages: Iterable[Message]) -> DeviceState:
    """Join the messages of one dump; raise `OSError` when they contradict the format."""
    private: NodePrivate | None = None
    port = mark = 0
    peers: dict[NodePublic, PeerState] = {}
    try:
        for message in messages:
            for kind, payload in read_attributes(message.body, _HEADER.size):
                if kind == _PRIVATE:
                    private = NodePrivate(payload) if any(payload) else None
                elif kind == _PORT:
                    port = read_integer(payload, 2)
                elif kind == _MARK:
                    mark = read_integer(payload)
                elif kind == _PEERS:
                    for _, piece in read_attributes(payload):
                        _join(peers, read_peer(piece))
    except (Malformed, struct.error, ValueError) as error:
        raise OSError(
            errno.EPROTO, f"the kernel's WireGuard answer is malformed: {error}"
        ) from error
    return DeviceState(private_key=private, port=port, mark=mark, peers=tuple(peers.values()))


def _join(peers: dict[NodePublic, PeerState], piece: PeerState) -> None:
    first = peers.get(piece.public_key)
    if first is None:
        peers[piece.public_key] = piece
        return
    peers[piece.public_key] = PeerState(
        public_key=first.public_key,
        endpoint=first.endpoint,
        last_handshake=first.last_handshake,
        received=first.received,
        sent=first.sent,
        allowed=first.allowed | piece.allowed,
        preshared=first.preshared,
        keepalive=first.keepalive,
    )


def read_peer(body: bytes) -> PeerState:
    found: dict[int, bytes] = dict(read_attributes(body))
    endpoint = read_endpoint(found[_ENDPOINT]) if _ENDPOINT in found else None
    preshared = found.get(_PRESHARED, b"")
    prefixes = (read_prefix(p) for _, p in read_attributes(found.get(_ALLOWED, b"")))
    return PeerState(
        public_key=NodePublic(found.get(_PUBLIC, b"")),
        endpoint=endpoint,
        last_handshake=_read_time(found.get(_HANDSHAKE, bytes(_TIME.size))),
        received=read_integer(found.get(_RECEIVED, bytes(8)), 8),
        sent=read_integer(found.get(_SENT, bytes(8)), 8),
        allowed=frozenset(p for p in prefixes if p is not None),
        preshared=PresharedKey(preshared) if any(preshared) else None,
        keepalive=read_integer(found.get(_KEEPALIVE, bytes(2)), 2),
    )


def _read_time(payload: bytes) -> float | None:
    seconds, nanoseconds = _TIME.unpack(payload)
    return seconds + nanoseconds / 1e9 if seconds or nanoseconds else None


def read_endpoint(sockaddr: bytes) -> Endpoint | None:
    """Return None for a family that is neither IPv4 nor IPv6."""
    family = read_integer(sockaddr[:2], 2)
    port = int.from_bytes(sockaddr[2:4], "big")
    if family == socket.AF_INET:
        return Endpoint(rtnetlink.read_address(sockaddr[4:8]), port)
    if family == socket.AF_INET6:
        return Endpoint(rtnetlink.read_address(sockaddr[8:24]), port)
    return None


def read_prefix(body: bytes) -> IPNetwork | None:
    found: dict[int, bytes] = dict(read_attributes(body))
    packed, length = found.get(_PREFIX_ADDRESS, b""), found.get(_PREFIX_LENGTH, b"\0")[0]
    if len(packed) == 4:  # noqa: PLR2004  # IPv4
        return IPv4Network((packed, length))
    return IPv6Network((packed, length)) if packed else None
