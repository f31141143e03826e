"""NAT-PMP: ask the gateway for its public address, and for a port of it.

    request            offset  size  meaning
    address            0       1     version, 0
                       1       1     operation, 0

    map                0       1     version, 0
                       1       1     operation, 1 (UDP)
                       2       2     reserved, 0
                       4       2     internal port
                       6       2     external port wished for, 0 is any
                       8       4     lifetime in seconds; 0 removes the mapping

    answer             0       1     version, 0
                       1       1     operation + 128
                       2       2     result, 0 is success
                       4       4     epoch: seconds since the gateway began
    to address         8       4     public IPv4 address
    to map             8       2     internal port
                       10      2     external port
                       12      4     lifetime in seconds

All integers are big-endian. The gateway listens on UDP port 5351 and tells all
hosts of the network about a new address or a restart on 224.0.0.1 port 5350,
with an answer to "address". An answer with a result other than 0 may end after
the epoch. Source: RFC 6886 section 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from gatepost.errors import Malformed, Truncated

PORT = 5351  # UDP, of the gateway
ANNOUNCEMENT_PORT = 5350  # UDP, of every host
VERSION = 0
RESULTS = {
    0: "success",
    1: "the version is not supported",
    2: "mapping is switched off in the gateway",
    3: "the gateway has no public address",
    4: "the gateway is out of ports",
    5: "the operation is not supported",
}

_ADDRESS, _MAP_UDP, _ANSWER = 0, 1, 0x80
_MAP = struct.Struct(">BBHHHI")
_HEAD = struct.Struct(">BBHI")
_MAPPED = struct.Struct(">HHI")


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """Ask for the public address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRequest:
    """Send UDP packets to `external` (0: any port of yours) on to my port `internal`.

    `lifetime` is in seconds, 0 to 2**32 - 1; with 0 the mapping is removed.
    """

    internal: int
    external: int = 0
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressAnswer:
    """The gateway's public address. `epoch` is seconds since it began to keep mappings."""

    epoch: int
    address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class MapAnswer:
    """The mapping that was made; `lifetime` is in seconds."""

    epoch: int
    internal: int
    external: int
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The gateway says no. `result` is 1 to 65535, `is_map` says to which question."""

    epoch: int
    result: int
    is_map: bool

    @property
    def reason(self) -> str:
        return RESULTS.get(self.result, f"result {self.result}")


Request = AddressRequest | MapRequest
Answer = AddressAnswer | MapAnswer | Refusal


def write_request(request: Request) -> bytes:
    """Return 2 or 12 bytes."""
    match request:
        case AddressRequest():
            return bytes((VERSION, _ADDRESS))
        case MapRequest():
            return _MAP.pack(
                VERSION, _MAP_UDP, 0, request.internal, request.external, request.lifetime
            )


def read_request(packet: bytes) -> Request:
    """Return what a client asks for; raise `Truncated` or `Malformed` (also for TCP)."""
    operation = _open(packet, 2)
    if operation == _ADDRESS:
        return AddressRequest()
    if operation != _MAP_UDP:
        raise Malformed(f"NAT-PMP operation {operation} is neither address nor UDP mapping")
    if len(packet) < _MAP.size:
        raise Truncated(f"a NAT-PMP mapping request has {_MAP.size} bytes, not {len(packet)}")
    _, _, _, internal, external, lifetime = _MAP.unpack_from(packet)
    return MapRequest(internal=internal, external=external, lifetime=lifetime)


def write_answer(answer: Answer) -> bytes:
    """Return 12 or 16 bytes; 8 for a refusal."""
    match answer:
        case AddressAnswer():
            return _HEAD.pack(VERSION, _ANSWER, 0, answer.epoch) + answer.address.packed
        case MapAnswer():
            head = _HEAD.pack(VERSION, _ANSWER | _MAP_UDP, 0, answer.epoch)
            return head + _MAPPED.pack(answer.internal, answer.external, answer.lifetime)
        case Refusal():
            operation = _ANSWER | (_MAP_UDP if answer.is_map else _ADDRESS)
            return _HEAD.pack(VERSION, operation, answer.result, answer.epoch)


def read_answer(packet: bytes) -> Answer:
    """Return what a gateway says; raise `Truncated` or `Malformed`."""
    operation = _open(packet, _HEAD.size)
    if operation not in {_ANSWER, _ANSWER | _MAP_UDP}:
        raise Malformed(f"NAT-PMP operation {operation} is no answer about an address or UDP")
    is_map = operation != _ANSWER
    _, _, result, epoch = _HEAD.unpack_from(packet)
    if result:
        return Refusal(epoch=epoch, result=result, is_map=is_map)
    rest = packet[_HEAD.size :]
    if len(rest) < (_MAPPED.size if is_map else 4):
        raise Truncated(f"a NAT-PMP answer of {len(packet)} bytes")
    if is_map:
        internal, external, lifetime = _MAPPED.unpack_from(rest)
        return MapAnswer(epoch=epoch, internal=internal, external=external, lifetime=lifetime)
    return AddressAnswer(epoch=epoch, address=IPv4Address(rest[:4]))


def _open(packet: bytes, least: int) -> int:
    """Return the operation of a packet of our version and at least this length."""
    if len(packet) < least:
        raise Truncated(f"a NAT-PMP packet has at least {least} bytes, not {len(packet)}")
    if packet[0] != VERSION:
        raise Malformed(f"NAT-PMP version {packet[0]} is not {VERSION}")
    return packet[1]
