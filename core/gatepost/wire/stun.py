"""STUN: ask a server which address and port our packets come from.

    offset  size  meaning
    0       2     type: 0001 binding request, 0101 success
    2       2     length of the attributes, a multiple of 4
    4       4     magic cookie 2112 A442
    8       12    transaction, random, echoed
    20      …     attributes: type u16, length u16, value, padded to 4

    request:  8022 SOFTWARE "tailnode", 8028 FINGERPRINT (last)
    answer:   0020 XOR-MAPPED-ADDRESS

    XOR-MAPPED-ADDRESS: 00, family (1 or 2), port ^ 2112, address ^ (cookie, transaction)
    FINGERPRINT:        CRC-32 of all before it ^ 5354554E

Only the requests of mesh nodes are read: both attributes must be there. An
answer may also bring 8020 or 0001 (MAPPED-ADDRESS), as old servers send.
All integers are big-endian. Source: RFC 5389 sections 6 and 15; protocol
document 2.5 and 2.7.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from gatepost.errors import Malformed, Truncated, Unauthentic
from gatepost.model.netmap import Endpoint, IPAddress

HEADER_LENGTH = 20  # bytes
TRANSACTION_LENGTH = 12  # bytes
SOFTWARE = b"tailnode"

_HEADER = struct.Struct(">HH4s12s")
_ATTRIBUTE = struct.Struct(">HH")
_REQUEST = 0x0001
_SUCCESS = 0x0101
_COOKIE = b"\x21\x12\xa4\x42"
_MAPPED_ADDRESS = 0x0001
_XOR_MAPPED_ADDRESSES = (0x0020, 0x8020)  # the second is a common mistake of servers
_SOFTWARE = 0x8022
_FINGERPRINT = 0x8028
_FINGERPRINT_LENGTH = 8  # bytes, with the attribute's head
_FINGERPRINT_MASK = 0x5354554E  # "STUN"
_ADDRESS_LENGTHS = {1: 4, 2: 16}  # family: bytes
_TOP_BITS = 0xC0


def is_stun(packet: bytes | memoryview) -> bool:
    """Tell STUN from the other protocols on the same UDP port, by its cookie."""
    return (
        len(packet) >= HEADER_LENGTH and not packet[0] & _TOP_BITS and bytes(packet[4:8]) == _COOKIE
    )


def is_request(packet: bytes | memoryview) -> bool:
    """Tell a question from an answer, without checking either."""
    return bytes(packet[:2]) == _REQUEST.to_bytes(2, "big")


def write_request(transaction: bytes) -> bytes:
    """Return the 40-byte binding request; `transaction` is 12 random bytes."""
    length = _ATTRIBUTE.size + len(SOFTWARE) + _FINGERPRINT_LENGTH
    head = _head(_REQUEST, length, transaction)
    head += _ATTRIBUTE.pack(_SOFTWARE, len(SOFTWARE)) + SOFTWARE
    return head + _ATTRIBUTE.pack(_FINGERPRINT, 4) + _fingerprint(head).to_bytes(4, "big")


def read_request(packet: bytes) -> bytes:
    """Return the 12-byte transaction of a node's binding request.

    Raise `Truncated` or `Malformed` for anything else, `Unauthentic` for a
    fingerprint that is not that of the bytes.
    """
    transaction, attributes = _open(packet, _REQUEST)
    software = b""
    last = 0
    for kind, value in attributes:
        last = kind
        if kind == _SOFTWARE:
            software = value
        elif kind == _FINGERPRINT:
            _check_fingerprint(packet, value)
    if software != SOFTWARE:
        raise Malformed(f"a STUN request of {software[:32]!r}, not of {SOFTWARE!r}")
    if last != _FINGERPRINT:
        raise Malformed("a STUN request that does not end in its fingerprint")
    return transaction


def write_answer(transaction: bytes, source: Endpoint) -> bytes:
    """Return the answer that tells the asker its own `source`: 32 bytes, 44 for IPv6."""
    address = _unmapped(source.address)
    masked = _xor(address.packed, _COOKIE + transaction)
    family = 1 if address.version == 4 else 2  # noqa: PLR2004  # the version of IP
    port = source.port ^ int.from_bytes(_COOKIE[:2], "big")
    value = struct.pack(">BBH", 0, family, port) + masked
    head = _head(_SUCCESS, _ATTRIBUTE.size + len(value), transaction)
    return head + _ATTRIBUTE.pack(_XOR_MAPPED_ADDRESSES[0], len(value)) + value


def read_answer(packet: bytes) -> tuple[bytes, Endpoint]:
    """Return the transaction and the address that the server saw.

    XOR-MAPPED-ADDRESS wins over MAPPED-ADDRESS. Raise `Truncated`, `Malformed`
    or `Unauthentic` as `read_request` does, and `Malformed` without an address.
    """
    transaction, attributes = _open(packet, _SUCCESS)
    plain: Endpoint | None = None
    masked: Endpoint | None = None
    for kind, value in attributes:
        if kind in _XOR_MAPPED_ADDRESSES:
            masked = masked or _read_address(value, _COOKIE + transaction)
        elif kind == _MAPPED_ADDRESS:
            plain = plain or _read_address(value, bytes(16))
        elif kind == _FINGERPRINT:
            _check_fingerprint(packet, value)
    found = masked or plain
    if found is None:
        raise Malformed("a STUN answer without an address")
    return transaction, found


def _head(kind: int, length: int, transaction: bytes) -> bytes:
    if len(transaction) != TRANSACTION_LENGTH:
        raise Malformed(
            f"a STUN transaction has {TRANSACTION_LENGTH} bytes, not {len(transaction)}"
        )
    return _HEADER.pack(kind, length, _COOKIE, transaction)


def _open(packet: bytes, wanted: int) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    if len(packet) < HEADER_LENGTH:
        raise Truncated(f"a STUN message has at least {HEADER_LENGTH} bytes, not {len(packet)}")
    kind, length, cookie, transaction = _HEADER.unpack_from(packet)
    if cookie != _COOKIE:
        raise Malformed(f"not STUN: the cookie is {cookie.hex()}")
    if kind != wanted:
        raise Malformed(f"a STUN message of type {kind:04x}, not {wanted:04x}")
    if length > len(packet) - HEADER_LENGTH:
        raise Truncated(f"STUN attributes of {length} bytes in a packet of {len(packet)}")
    if length != len(packet) - HEADER_LENGTH or length % 4:
        raise Malformed(f"STUN attributes of {length} bytes in a packet of {len(packet)}")
    return transaction, _attributes(packet[HEADER_LENGTH:])


def _attributes(rest: bytes) -> Iterator[tuple[int, bytes]]:
    while rest:  # a multiple of 4, so the head is whole
        kind, length = _ATTRIBUTE.unpack_from(rest)
        padded = _ATTRIBUTE.size + (length + 3) // 4 * 4
        if padded > len(rest):
            raise Truncated(f"STUN attribute {kind:04x} of {length} bytes is cut")
        yield kind, rest[_ATTRIBUTE.size : _ATTRIBUTE.size + length]
        rest = rest[padded:]


def _fingerprint(before: bytes) -> int:
    return zlib.crc32(before) ^ _FINGERPRINT_MASK


def _check_fingerprint(packet: bytes, value: bytes) -> None:
    before = packet[:-_FINGERPRINT_LENGTH]
    if packet[len(before) :] != _ATTRIBUTE.pack(_FINGERPRINT, 4) + value:
        raise Malformed("a STUN fingerprint that is not the last attribute")
    if int.from_bytes(value, "big") != _fingerprint(before):
        raise Unauthentic("the STUN fingerprint is not that of the packet")


def _read_address(value: bytes, mask: bytes) -> Endpoint:
    length = _ADDRESS_LENGTHS.get(value[1]) if len(value) >= 4 else None  # noqa: PLR2004
    if length is None or len(value) != 4 + length:
        raise Malformed(f"{value[:20].hex()} is not a STUN address")
    port = int.from_bytes(_xor(value[2:4], mask), "big")
    if port == 0:
        raise Malformed("a STUN address with port 0")
    raw = _xor(value[4:], mask)
    address = IPv4Address(raw) if length == 4 else IPv6Address(raw)  # noqa: PLR2004
    return Endpoint(_unmapped(address), port)


def _unmapped(address: IPAddress) -> IPAddress:
    """Return ::ffff:192.0.2.1 as 192.0.2.1: what a dual-stack socket reports for IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _xor(value: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(value, mask, strict=False))
