"""The header in front of what goes through a peer relay. Sources: RFC 8926; protocol document 4.

     0         1         2           4                    7
    +---------+---------+-----------+--------------------+---------+
    | version | control | type u16  | VNI u24            | 0       |
    | 2 bits, | 1 bit,  |           |                    |         |
    | options | then    |           |                    |         |
    | length  | zeros   |           |                    |         |
    +---------+---------+-----------+--------------------+---------+

Eight bytes: there are no options. The type is 7A11 for path discovery and 7A12
for WireGuard. With the control bit the packet is for the relay itself, without
it for the other client of the VNI. Numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated

HEADER_LENGTH = 8
DISCO_TYPE, WIREGUARD_TYPE = 0x7A11, 0x7A12
HIGHEST_VNI = 2**24 - 1  # 1 is the lowest

_HEADER = struct.Struct("!BBHI")
_CONTROL = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Geneve:
    """`type` is one of the two above, `vni` 1 to 2^24 - 1."""

    type: int
    vni: int
    control: bool = False


def read_geneve(packet: bytes) -> Geneve:
    """Read the header; what follows begins at `HEADER_LENGTH`.

    Raise `Truncated` under 8 bytes, `Malformed` for another version and for options.
    Reserved bits are not looked at, as in the field.
    """
    if len(packet) < HEADER_LENGTH:
        raise Truncated(f"a Geneve header has {HEADER_LENGTH} bytes, not {len(packet)}")
    first, flags, kind, last = _HEADER.unpack_from(packet)
    if first:
        raise Malformed(f"a Geneve header that begins with {first:#04x}: version 0, no options")
    return Geneve(type=kind, vni=last >> 8, control=bool(flags & _CONTROL))


def write_geneve(header: Geneve) -> bytes:
    """Return the 8 bytes; raise `Malformed` for a VNI out of range."""
    if not 0 < header.vni <= HIGHEST_VNI:
        raise Malformed(f"a VNI is 1 to {HIGHEST_VNI}, not {header.vni}")
    return _HEADER.pack(0, _CONTROL if header.control else 0, header.type, header.vni << 8)
