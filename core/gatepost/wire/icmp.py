"""ICMP echo, both versions. Source: RFC 792, RFC 4443 section 4.

offset  size  what
0     1  type: 8 and 0 (IPv4), 128 and 129 (IPv6): request and reply
1     1  code: 0
2     2  checksum; the kernel fills it in for IPv6 and for ping sockets
4     2  identifier
6     2  sequence number
8     n  whatever was sent, sent back
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated

HEAD = struct.Struct("!BBHHH")
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo message; `identifier` and `sequence` are 0 to 65535."""

    is_reply: bool
    identifier: int
    sequence: int
    payload: bytes


def write_request(echo: Echo, version: int) -> bytes:
    """Return a request for this version of IP, with the checksum of IPv4."""
    kind = REQUEST[version]
    bare = HEAD.pack(kind, 0, 0, echo.identifier, echo.sequence) + echo.payload
    checksum = internet_checksum(bare) if version == 4 else 0  # noqa: PLR2004  # version of IP
    return HEAD.pack(kind, 0, checksum, echo.identifier, echo.sequence) + echo.payload


def read_echo(raw: bytes, version: int) -> Echo:
    """Read a request or a reply; raise `Truncated`, or `Malformed` for anything else."""
    if len(raw) < HEAD.size:
        raise Truncated(f"an ICMP message has {HEAD.size} bytes at least, not {len(raw)}")
    kind, code, _, identifier, sequence = HEAD.unpack_from(raw)
    if kind not in {REQUEST[version], REPLY[version]} or code:
        raise Malformed(f"ICMP type {kind} code {code} is not an echo")
    return Echo(kind == REPLY[version], identifier, sequence, raw[HEAD.size :])


def internet_checksum(raw: bytes) -> int:
    """Return the checksum of RFC 1071."""
    padded = raw + b"\0" * (len(raw) % 2)
    words: tuple[int, ...] = struct.unpack(f"!{len(padded) // 2}H", padded)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
