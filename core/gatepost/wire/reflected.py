"""What boxes send each other for hosts that look for services with multicast.

    offset  size  meaning
    0       1     version, 1
    1       1     kind: 1 and 2 mDNS of IPv4 and IPv6, 3 an SSDP announcement,
                  4 an SSDP search, 5 an answer to one
    2       4     kinds 4 and 5: a number that the searching box chose
    2 or 6  n     the datagram as it was heard, 1 to 8900 octets

It goes by UDP through the tunnel, which proves who sent it. Groups and ports: RFC 6762
section 3 (mDNS), UPnP Device Architecture 2.0 section 1 (SSDP; IPv4 only, as nearly all
devices). Of a datagram only the beginning is looked at: that it is what its kind says.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated

PORT = 41652  # UDP, between boxes
# What a peer must have been granted at a box before its hosts are heard there.
CAPABILITY = "gatepost.internal/cap/multicast"
LONGEST = 8900  # octets; RFC 6762 section 17 allows 9000 with all headers
_VERSION = 1
_HEAD = struct.Struct(">BB")
_NUMBER = struct.Struct(">I")
_DNS_HEADER = 12  # octets
_OPCODE = 0x78  # of the third octet; mDNS has 0 there and drops everything else


class Kind(enum.IntEnum):
    MDNS_V4 = 1
    MDNS_V6 = 2
    SSDP_NEWS = 3
    SSDP_SEARCH = 4
    SSDP_ANSWER = 5


NUMBERED = frozenset({Kind.SSDP_SEARCH, Kind.SSDP_ANSWER})
_BEGINNINGS = {
    Kind.SSDP_NEWS: b"NOTIFY ",
    Kind.SSDP_SEARCH: b"M-SEARCH ",
    Kind.SSDP_ANSWER: b"HTTP/1.",
}


@dataclass(frozen=True, slots=True)
class Reflected:
    """One datagram of a LAN; `number` is 0 to 2^32 - 1 and 0 where the kind has none."""

    kind: Kind
    datagram: bytes
    number: int = 0


def write_reflected(reflected: Reflected) -> bytes:
    number = _NUMBER.pack(reflected.number) if reflected.kind in NUMBERED else b""
    return _HEAD.pack(_VERSION, reflected.kind) + number + reflected.datagram


def read_reflected(raw: bytes) -> Reflected:
    """Raise `Truncated`, or `Malformed` for a datagram that is not what its kind says."""
    if len(raw) < _HEAD.size:
        raise Truncated(f"a reflected datagram of {len(raw)} bytes")
    version, number_of_kind = _HEAD.unpack_from(raw)
    if version != _VERSION:
        raise Malformed(f"reflected datagrams of version {version}, and {_VERSION} is known")
    try:
        kind = Kind(number_of_kind)
    except ValueError as error:
        raise Malformed(f"reflected datagrams of kind {number_of_kind}") from error
    rest, number = raw[_HEAD.size :], 0
    if kind in NUMBERED:
        if len(rest) < _NUMBER.size:
            raise Truncated("a reflected search without its number")
        (number,) = _NUMBER.unpack_from(rest)
        rest = rest[_NUMBER.size :]
    check_datagram(kind, rest)
    return Reflected(kind, rest, number)


def check_datagram(kind: Kind, datagram: bytes) -> None:
    """Raise `Malformed` unless it may be what its kind says."""
    if not 0 < len(datagram) <= LONGEST:
        raise Malformed(f"a datagram of {len(datagram)} bytes; 1 to {LONGEST} are reflected")
    beginning = _BEGINNINGS.get(kind)
    if beginning is not None:
        if not datagram.startswith(beginning):
            raise Malformed(f"an SSDP message that does not begin with {beginning.decode()!r}")
    elif len(datagram) < _DNS_HEADER or datagram[2] & _OPCODE:
        raise Malformed("an mDNS message without a header, or with an opcode")


def kind_of_ssdp(datagram: bytes) -> Kind:
    """Say what was heard at SSDP's group; raise `Malformed` for what is neither."""
    for kind in (Kind.SSDP_NEWS, Kind.SSDP_SEARCH):
        if datagram.startswith(_BEGINNINGS[kind]):
            return kind
    raise Malformed("an SSDP message that neither announces nor searches")
