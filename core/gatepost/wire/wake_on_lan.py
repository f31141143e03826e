"""Wake-on-LAN: the packet that wakes a sleeping machine, and how a box is asked to send it.

    offset  size  meaning
    0       6     ff ff ff ff ff ff
    6       96    the machine's link address, sixteen times

It may stand anywhere in a packet; a UDP datagram to port 9 of everybody is what people use.
Source: AMD, Magic Packet Technology (20213). A password after it, which few cards know, is not
written.

A box is asked at its peer API: POST /v1/wake with the JSON `WakeRequest`, answered by `Woken`.
"""

from __future__ import annotations

import re

import msgspec

from gatepost.errors import Malformed

PORT = 9  # UDP, "discard"
PATH = "/v1/wake"
# What a peer must have been granted at the box. A policy can give none of tailscale.com's name.
CAPABILITY = "gatepost.internal/cap/wake-on-lan"

_SYNC = b"\xff" * 6
_TIMES = 16
_LENGTH = 6
_ADDRESS = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}", re.IGNORECASE)


class WakeRequest(msgspec.Struct, frozen=True):
    """`target` is a link address, or a name that the box has one for."""

    target: str


class Woken(msgspec.Struct, frozen=True):
    """To whom and on which network devices the packet was sent; nobody answers it."""

    mac: str
    links: tuple[str, ...]


def is_link_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def read_link_address(text: str) -> bytes:
    """Read "00:11:22:33:44:55" or with dashes; raise `Malformed` for anything else, and groups."""
    if not is_link_address(text):
        raise Malformed(f"{text[:40]!r} is no link address, like 00:11:22:33:44:55")
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if raw[0] & 1:
        raise Malformed(f"{text} is the address of a group; one machine is woken at a time")
    return raw


def write_link_address(raw: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in raw)


def write_magic(address: bytes) -> bytes:
    """Return the 102 octets for a link address of 6."""
    return _SYNC + address * _TIMES


def read_magic(raw: bytes) -> bytes:
    """Return the link address that the first such packet in `raw` is for; raise `Malformed`."""
    start = raw.find(_SYNC)
    while start >= 0:
        address = raw[start + _LENGTH : start + 2 * _LENGTH]
        if len(address) == _LENGTH and raw.startswith(address * _TIMES, start + _LENGTH):
            return address
        start = raw.find(_SYNC, start + 1)
    raise Malformed(f"{len(raw)} bytes without a packet that wakes anybody")
