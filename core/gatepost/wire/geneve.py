"""The Geneve header in front of what goes through a peer relay.

Source: protocol document 2.5 and 4.

     0               1 2             4                 7       8
    +---------------+-+-------------+-----------------+-------+-----------
    | version 0 (2), |C| protocol    | VNI, 1 to 2^24-1 | 0     | packet
    | options 0 (6)  | | u16         |                 |       |
    +---------------+-+-------------+-----------------+-------+-----------

C, the first bit of byte 1, marks the talk with the relay itself (binding); the
other seven are 0. The protocol is 7A 11 for path discovery and 7A 12 for
WireGuard. No WireGuard packet, STUN or path discovery begins like this.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gatepost.errors import Malformed

HEADER_LENGTH = 8
DISCO = 0x7A11
WIREGUARD = 0x7A12
LARGEST_VNI = (1 << 24) - 1

_HEADER = struct.Struct("!BBHI")
_CONTROL = 0x80


@dataclass(frozen=True, slots=True)
class Geneve:
    """The header. `protocol` is `DISCO` or `WIREGUARD`."""

    vni: int
    protocol: int
    is_control: bool = False


def is_geneve(packet: bytes) -> bool:
    """Tell a packet with the header from STUN, path discovery and WireGuard."""
    return (
        len(packet) >= HEADER_LENGTH
        and packet[0] == 0
        and packet[1] & ~_CONTROL == 0
        and packet[2:4] in (b"\x7a\x11", b"\x7a\x12")
        and packet[7] == 0
    )


def read_geneve(packet: bytes) -> tuple[Geneve, bytes]:
    """Split a packet; raise `Malformed` for one that `is_geneve` refuses, or with VNI 0."""
    if not is_geneve(packet):
        raise Malformed(f"{packet[:HEADER_LENGTH].hex()} is no Geneve header of a peer relay")
    _, flags, protocol, last = _HEADER.unpack_from(packet)
    if last == 0:
        raise Malformed("a Geneve header without a VNI")
    return Geneve(last >> 8, protocol, bool(flags & _CONTROL)), packet[HEADER_LENGTH:]


def write_geneve(header: Geneve, packet: bytes) -> bytes:
    """Put the header in front; raise `Malformed` for a VNI that has no room in it."""
    if not 1 <= header.vni <= LARGEST_VNI:
        raise Malformed(f"a VNI is 1 to {LARGEST_VNI}, not {header.vni}")
    flags = _CONTROL if header.is_control else 0
    return _HEADER.pack(0, flags, header.protocol, header.vni << 8) + packet
