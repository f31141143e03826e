"""Netlink messages and attributes: bytes to values and back, no sockets.

A message (include/uapi/linux/netlink.h; integers in the byte order of the machine):

    offset size
    0      4    length, header included
    4      2    type
    6      2    flags
    8      4    sequence number, repeated in the answer
    12     4    port of the sender; 0 is the kernel
    16     …    body, then padding to a multiple of 4

An attribute is `length u16 | type u16 | payload`, padded to a multiple of 4;
bit 15 of the type says "nested", bit 14 "big endian".
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatepost.errors import Malformed

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
ERROR_CODE = struct.Struct("=i")
U32 = struct.Struct("=I")

REQUEST, MULTI, ACK, DUMP_INTERRUPTED = 0x1, 0x2, 0x4, 0x10
DUMP = 0x300  # root and match
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
ERROR, DONE, OVERRUN = 2, 3, 4  # types below 16 belong to netlink itself
ACK_CAPPED, ACK_HAS_TEXT = 0x100, 0x200  # flags of an ERROR message
ERROR_TEXT = 1  # NLMSGERR_ATTR_MSG

NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_LONGEST_ATTRIBUTE = 0xFFFF  # bytes, its length field has 16 bits


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel; the socket adds length, sequence number and `REQUEST`.

    `about` is what a refusal names: the resource, or words.
    """

    type: int
    flags: int
    body: bytes
    about: object = None

    def encode(self, sequence: int, more_flags: int = 0) -> bytes:
        length = HEADER.size + len(self.body)
        flags = REQUEST | self.flags | more_flags
        return HEADER.pack(length, self.type, flags, sequence, 0) + self.body + bytes(-length % 4)


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the kernel."""

    type: int
    flags: int
    sequence: int
    body: bytes


def read_messages(datagram: bytes) -> Iterator[Message]:
    """Split what one `recv` returned; raise `Malformed` for a length that cannot be."""
    offset = 0
    while len(datagram) - offset >= HEADER.size:
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            raise Malformed(f"netlink message length {length} at offset {offset} is impossible")
        yield Message(kind, flags, sequence, datagram[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded; raise `Malformed` when it is longer than 65,535 bytes."""
    length = ATTRIBUTE.size + len(payload)
    if length > _LONGEST_ATTRIBUTE:
        raise Malformed(f"attribute {kind} would have {length} bytes, over {_LONGEST_ATTRIBUTE}")
    return ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def nested(kind: int, parts: Iterable[bytes]) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, U32.pack(value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def read_attributes(body: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each attribute from `offset` on; raise `Malformed`."""
    end = len(body)
    while end - offset >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(body, offset)
        if length < ATTRIBUTE.size or offset + length > end:
            raise Malformed(f"netlink attribute length {length} at offset {offset} is impossible")
        yield kind & _TYPE_MASK, body[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def read_integer(payload: bytes, size: int = 4) -> int:
    """Read an unsigned integer of `size` bytes in the machine's own order; raise `Malformed`."""
    if len(payload) != size:
        raise Malformed(f"an integer attribute has {len(payload)} bytes, not {size}")
    return int.from_bytes(payload, sys.byteorder)


def read_text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an ERROR or DONE message says: `code` 0 is success, else an errno; `text` explains."""

    code: int
    text: str = ""


def read_answer(message: Message) -> Answer:
    """Read an ERROR or DONE message; the kernel's own words are in `text` when it sent some."""
    if len(message.body) < ERROR_CODE.size:
        return Answer(0)  # a DONE may be empty
    (code,) = ERROR_CODE.unpack_from(message.body)
    if not message.flags & ACK_HAS_TEXT:
        return Answer(-code)
    skip = ERROR_CODE.size
    if message.type == ERROR:
        # The request's header follows, and without capping its body too.
        length = HEADER.unpack_from(message.body, skip)[0]
        skip += HEADER.size if message.flags & ACK_CAPPED else (length + 3) & ~3
    for kind, payload in read_attributes(message.body, skip):
        if kind == ERROR_TEXT:
            return Answer(-code, read_text(payload))
    return Answer(-code)
