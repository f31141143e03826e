"""Fields that several path discovery messages share: addresses, keys, and enough bytes.

     0                               16      18
    +-------------------------------+-------+
    | address, IPv4 as ::ffff:a.b.c.d | port |     all numbers big-endian
    +-------------------------------+-------+

Source: protocol document 2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv6Address

from gatepost.errors import Malformed, Truncated
from gatepost.model.netmap import Endpoint

TRANSACTION_LENGTH = 12
ENDPOINT_LENGTH = 18
_ENDPOINT = struct.Struct("!16sH")


def read_endpoint(field: bytes) -> Endpoint | None:
    """Read 18 bytes; None when the port is 0, which no endpoint has."""
    raw, port = _ENDPOINT.unpack(field)
    address = IPv6Address(raw)
    return Endpoint(address.ipv4_mapped or address, port) if port else None


def read_endpoints(payload: bytes) -> tuple[Endpoint, ...]:
    """Read whole addresses only; a wrong length means none, as in the field."""
    if len(payload) % ENDPOINT_LENGTH:
        return ()
    found = (
        read_endpoint(payload[i : i + ENDPOINT_LENGTH])
        for i in range(0, len(payload), ENDPOINT_LENGTH)
    )
    return tuple(e for e in found if e is not None)


def write_endpoint(endpoint: Endpoint) -> bytes:
    """Write 18 bytes."""
    raw = endpoint.address.packed
    return _ENDPOINT.pack(bytes(10) + b"\xff\xff" + raw if len(raw) == 4 else raw, endpoint.port)  # noqa: PLR2004  # IPv4


def write_endpoints(endpoints: Iterable[Endpoint]) -> bytes:
    """Write one after the other."""
    return b"".join(map(write_endpoint, endpoints))


def exactly(raw: bytes, length: int, what: str) -> bytes:
    """Return `raw` if it has `length` bytes; raise `Malformed` for a message to be written."""
    if len(raw) != length:
        raise Malformed(f"a {what} has {length} bytes, not {len(raw)}")
    return raw


def need(payload: bytes, length: int) -> None:
    """Raise `Truncated` when a payload is shorter than its fixed part."""
    if len(payload) < length:
        raise Truncated(f"a payload of {len(payload)} bytes is under {length}")
