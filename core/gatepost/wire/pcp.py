"""PCP, the port control protocol: ask the gateway for a port, and whether it is still the same.

    request    offset  size  meaning
               0       1     version, 2
               1       1     operation: 0 announce, 1 map
               2       2     reserved, 0
               4       4     lifetime wished for in seconds; 0 removes the mapping
               8       16    the client's own address

    answer     0       1     version, 2
               1       1     operation + 128
               2       1     reserved
               3       1     result, 0 is success
               4       4     lifetime in seconds; of an error: how long it will last
               8       4     epoch: seconds since the gateway began
               12      12    reserved

    map, both  24      12    nonce, random; whoever changes the mapping must know it
               36      1     protocol, 17 (UDP)
               37      3     reserved, 0
               40      2     internal port
               42      2     external port, in a request the one wished for or 0
               44      16    external address, in a request the one wished for or 0

    options    60      …     code u8, reserved u8, length u16, padded to 4; we send none

All integers are big-endian, IPv4 addresses are written as ::ffff:a.b.c.d. The
gateway listens on UDP port 5351, as for NAT-PMP; after a restart it tells all
hosts on 224.0.0.1 port 5350 with an answer to "announce".
Source: RFC 6887 sections 7, 11 and 14.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatepost.errors import Malformed, Truncated
from gatepost.model.netmap import IPAddress

PORT = 5351  # UDP, of the gateway
VERSION = 2
NONCE_LENGTH = 12  # bytes
LONGEST = 1100  # bytes of a packet, RFC 6887 section 7
ANY_V4 = IPv4Address(0)
RESULTS = {
    0: "success",
    1: "the version is not supported",
    2: "mapping is switched off in the gateway",
    3: "the request is malformed",
    4: "the operation is not supported",
    5: "an option is not supported",
    6: "an option is malformed",
    7: "the gateway has no public address",
    8: "the gateway is out of ports",
    9: "the protocol is not supported",
    10: "too many mappings for this host",
    11: "the external address or port cannot be had",
    12: "another NAT stands between this host and the gateway",
    13: "too many remote hosts",
}

_ANNOUNCE, _MAP, _ANSWER = 0, 1, 0x80
_UDP = 17
_REQUEST = struct.Struct(">BBHI16s")
_REPLY = struct.Struct(">BBBBII12x")
_MAPPING = struct.Struct(">12sB3xHH16s")


@dataclass(frozen=True, slots=True)
class Announce:
    """Are you there? `client` is our own address."""

    client: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Send UDP packets for `external` on to port `internal` of `client`.

    `nonce` is 12 random bytes, the same for all requests about one mapping.
    `external` 0 and the unspecified `address` leave the choice to the gateway.
    `lifetime` is in seconds; with 0 the mapping is removed.
    """

    client: IPAddress
    nonce: bytes
    internal: int
    external: int = 0
    address: IPAddress = ANY_V4
    lifetime: int


@dataclass(frozen=True, slots=True)
class Announced:
    """I am here since `epoch` seconds; `result` other than 0 is a refusal to do anything."""

    epoch: int
    result: int = 0

    @property
    def reason(self) -> str:
        return RESULTS.get(self.result, f"result {self.result}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """The answer to `Map`. With a `result` other than 0 nothing was mapped.

    `lifetime` is in seconds: of the mapping, or how long the error will last.
    """

    epoch: int
    result: int = 0
    lifetime: int
    nonce: bytes
    internal: int
    external: int
    address: IPAddress

    @property
    def reason(self) -> str:
        return RESULTS.get(self.result, f"result {self.result}")


Request = Announce | Map
Answer = Announced | Mapped


def write_request(request: Request) -> bytes:
    """Return 24 or 60 bytes."""
    client = _packed(request.client)
    match request:
        case Announce():
            return _REQUEST.pack(VERSION, _ANNOUNCE, 0, 0, client)
        case Map():
            head = _REQUEST.pack(VERSION, _MAP, 0, request.lifetime, client)
            return head + _pack_mapping(request)


def read_request(packet: bytes) -> Request:
    """Return what a client asks for; raise `Truncated` or `Malformed` (also for TCP)."""
    operation = _open(packet)
    _, _, _, lifetime, client = _REQUEST.unpack_from(packet)
    if operation == _ANNOUNCE:
        return Announce(_address(client))
    if operation != _MAP:
        raise Malformed(f"PCP operation {operation} is neither announce nor map")
    nonce, internal, external, address = _mapping(packet)
    return Map(
        client=_address(client),
        nonce=nonce,
        internal=internal,
        external=external,
        address=address,
        lifetime=lifetime,
    )


def write_answer(answer: Answer) -> bytes:
    """Return 24 or 60 bytes."""
    match answer:
        case Announced():
            return _REPLY.pack(VERSION, _ANSWER, 0, answer.result, 0, answer.epoch)
        case Mapped():
            operation = _ANSWER | _MAP
            head = _REPLY.pack(VERSION, operation, 0, answer.result, answer.lifetime, answer.epoch)
            return head + _pack_mapping(answer)


def read_answer(packet: bytes) -> Answer:
    """Return what a gateway says; raise `Truncated` or `Malformed`."""
    operation = _open(packet)
    _, _, _, result, lifetime, epoch = _REPLY.unpack_from(packet)
    if operation == _ANSWER:
        return Announced(epoch, result)
    if operation != _ANSWER | _MAP:
        raise Malformed(f"PCP operation {operation} is no answer to announce or map")
    nonce, internal, external, address = _mapping(packet)
    return Mapped(
        epoch=epoch,
        result=result,
        lifetime=lifetime,
        nonce=nonce,
        internal=internal,
        external=external,
        address=address,
    )


def _open(packet: bytes) -> int:
    """Return the operation; the options are not ours to judge."""
    if len(packet) < _REQUEST.size:
        raise Truncated(f"a PCP packet has at least {_REQUEST.size} bytes, not {len(packet)}")
    if packet[0] != VERSION:
        raise Malformed(f"PCP version {packet[0]} is not {VERSION}")
    if len(packet) > LONGEST or len(packet) % 4:
        raise Malformed(f"a PCP packet of {len(packet)} bytes")
    return packet[1]


def _pack_mapping(mapping: Map | Mapped) -> bytes:
    if len(mapping.nonce) != NONCE_LENGTH:
        raise Malformed(f"a PCP nonce has {NONCE_LENGTH} bytes, not {len(mapping.nonce)}")
    address = _packed(mapping.address)
    return _MAPPING.pack(mapping.nonce, _UDP, mapping.internal, mapping.external, address)


def _mapping(packet: bytes) -> tuple[bytes, int, int, IPAddress]:
    """Return the nonce, the internal and the external port and the external address."""
    if len(packet) < _REQUEST.size + _MAPPING.size:
        raise Truncated(f"a PCP mapping of {len(packet)} bytes")
    nonce, protocol, internal, external, address = _MAPPING.unpack_from(packet, _REQUEST.size)
    if protocol != _UDP:
        raise Malformed(f"a PCP mapping of protocol {protocol}, not of UDP")
    return nonce, internal, external, _address(address)


def _packed(address: IPAddress) -> bytes:
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed  # noqa: PLR2004  # the version of IP


def _address(packed: bytes) -> IPAddress:
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
