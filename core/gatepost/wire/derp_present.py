"""What a DERP server tells other servers of its region about one of its clients.

The details of a PeerPresent frame, behind the 32 bytes of the key:

    offset  size  meaning
    0       16    address; IPv4 as ::ffff:a.b.c.d
    16      2     port, big-endian
    18      1     flags: 01 regular, 02 a server of the mesh, 04 a prober, 08 not where it
                  would rather be

Older servers send less: nothing, or no flags. Source: protocol document 3.2.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address, ip_address

_V4_PREFIX = bytes(10) + b"\xff\xff"
_ENDPOINT_LENGTH = 18  # bytes
_ADDRESS_LENGTH = 16  # bytes


class PresentFlag(enum.IntFlag):
    """What kind of client it is."""

    REGULAR = 1
    MESH_PEER = 2
    PROBER = 4
    NOT_IDEAL = 8


def write_details(address: str, port: int, flags: PresentFlag) -> bytes:
    """Return the 19 bytes; an address that is none becomes ::."""
    return _address(address) + port.to_bytes(2, "big") + bytes((flags or PresentFlag.REGULAR,))


def read_details(details: bytes) -> tuple[IPv4Address | IPv6Address | None, int, PresentFlag]:
    """Return address, port and flags; what an older server left out is None, 0 and regular."""
    if len(details) < _ENDPOINT_LENGTH:
        return None, 0, PresentFlag.REGULAR
    address = IPv6Address(details[:_ADDRESS_LENGTH])
    port = int.from_bytes(details[_ADDRESS_LENGTH:_ENDPOINT_LENGTH], "big")
    known = details[_ENDPOINT_LENGTH : _ENDPOINT_LENGTH + 1]
    flags = PresentFlag(known[0]) if known else PresentFlag.REGULAR
    return address.ipv4_mapped or address, port, flags


def _address(text: str) -> bytes:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:  # a test's transport, or a Unix socket
        return bytes(_ADDRESS_LENGTH)
    return address.packed if isinstance(address, IPv6Address) else _V4_PREFIX + address.packed
