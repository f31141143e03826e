"""Forward DERP packets many at a time: the relay's inner loop.

A SendPacket and the ReceivePacket it becomes have the same size:

    offset  arrives as        leaves as
    0       04 SendPacket     05 ReceivePacket
    1       length            length, the same
    5       32 destination    32 source
    37      payload           payload, the same

So the header is rewritten where it stands, and neighbours with one destination
leave as one slice. A sender's packets mostly go to one peer and have one size:
behind a second packet for the same destination, comparing the whole 37-byte
header with its neighbour's finds them at half the price of reading each.

On the way to another server of the region a packet is longer by one key:

    0       05 ReceivePacket  0a ForwardPacket
    1       length            length + 32
    5       32 source         32 source
    37      payload           32 destination, payload
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gatepost.errors import Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.wire.derp import DISCO_MAGIC, HEADER_LENGTH, PACKET_LIMIT, read_frame, read_header
from gatepost.wire.derp_frames import Frame, Kind

PACKET_HEADER_LENGTH = HEADER_LENGTH + KEY_LENGTH  # bytes
Run = tuple[bytes, int, int, int]  # destination, first octet, octet behind the last, packets

_LENGTH = struct.Struct(">I")
_HEADER = struct.Struct(">BI")
_PACKET_HEADER = struct.Struct(f">BI{KEY_LENGTH}s")
_REPLACEMENT = struct.Struct(f"{PACKET_HEADER_LENGTH}s")
_SEND = int(Kind.SEND_PACKET)
_RECEIVE = int(Kind.RECEIVE_PACKET)
_RECEIVE_OCTET = bytes((Kind.RECEIVE_PACKET,))
_DISCO_END = PACKET_HEADER_LENGTH + len(DISCO_MAGIC)


@dataclass(slots=True)
class Batch:
    """What one read brought: runs of packets, all other frames, and how far it was whole."""

    runs: list[Run] = field(default_factory=list)
    others: list[Frame] = field(default_factory=list)
    used: int = 0  # octets


def readdress(buffer: bytearray, end: int, source: bytes, start: int = 0) -> Batch:
    """Turn the SendPackets in `buffer[start:end]` into ReceivePackets from `source`, in place.

    Raise `Malformed` or `Truncated` at the first frame that is wrong; what is
    between `start` and `end` is then of no more use.
    """
    batch = Batch()
    runs = batch.runs
    # A method of Struct writes in place at a third of what assigning to a slice costs.
    unpack, pack = _PACKET_HEADER.unpack_from, _PACKET_HEADER.pack_into
    offset, last = start, end - PACKET_HEADER_LENGTH
    destination, first, packets = b"", 0, 0  # the run that is being made
    while True:
        kind = length = 0
        if offset <= last:
            kind, length, key = unpack(buffer, offset)
            stop = offset + HEADER_LENGTH + length
            if kind == _SEND and KEY_LENGTH <= length <= KEY_LENGTH + PACKET_LIMIT and stop <= end:
                if key == destination:
                    offset, more = _like(buffer, offset, stop, end, source)
                    packets += more
                    continue
                if packets:
                    runs.append((destination, first, offset, packets))
                destination, first, packets = key, offset, 1
                pack(buffer, offset, _RECEIVE, length, source)
                offset = stop
                continue
        if packets:
            runs.append((destination, first, offset, packets))
            destination, packets = b"", 0
        stop = _read_other(buffer, offset, end, batch.others)
        if stop == offset:
            batch.used = offset - start
            return batch
        offset = stop


def _like(buffer: bytearray, offset: int, stop: int, end: int, source: bytes) -> tuple[int, int]:
    """Rewrite the packet at `offset` and all behind it with the same header; return end, count."""
    first, size = offset, stop - offset
    header = bytes(buffer[offset : offset + PACKET_HEADER_LENGTH])
    replacement = _RECEIVE_OCTET + header[1:HEADER_LENGTH] + source
    has_at, replace, last = buffer.startswith, _REPLACEMENT.pack_into, end - size
    while offset <= last and has_at(header, offset):
        replace(buffer, offset, replacement)
        offset += size
    return offset, (offset - first) // size


def _read_other(buffer: bytearray, offset: int, end: int, others: list[Frame]) -> int:
    """Read a frame that is no packet; return where it ends, `offset` while it is not whole."""
    if end - offset < HEADER_LENGTH:
        return offset
    kind, length = read_header(buffer, offset)
    if kind == _SEND and length < KEY_LENGTH:
        raise Truncated(f"a DERP packet has at least {KEY_LENGTH} bytes, not {length}")
    stop = offset + HEADER_LENGTH + length
    if stop > end:
        return offset
    others.append(read_frame(kind, bytes(buffer[offset + HEADER_LENGTH : stop])))
    return stop


def forwarded(run: memoryview, destination: bytes) -> bytes:
    """Return a run of ReceivePackets as ForwardPackets to `destination` (32 bytes)."""
    pieces: list[bytes | memoryview] = []
    offset = 0
    while offset < len(run):
        length = _LENGTH.unpack_from(run, offset + 1)[0]
        payload = offset + PACKET_HEADER_LENGTH
        stop = offset + HEADER_LENGTH + length
        pieces += (
            _HEADER.pack(Kind.FORWARD_PACKET, length + KEY_LENGTH),
            run[offset + HEADER_LENGTH : payload],
            destination,
            run[payload:stop],
        )
        offset = stop
    return b"".join(pieces)


def split(run: bytes | bytearray | memoryview) -> list[bytes]:
    """Copy whole frames out of a run, one by one."""
    frames: list[bytes] = []
    offset = 0
    while offset < len(run):
        stop = offset + HEADER_LENGTH + _LENGTH.unpack_from(run, offset + 1)[0]
        frames.append(bytes(run[offset:stop]))
        offset = stop
    return frames


def holds_disco(run: memoryview) -> bool:
    """Tell whether any packet of a run carries path discovery."""
    offset = 0
    while offset < len(run):
        if run[offset + PACKET_HEADER_LENGTH : offset + _DISCO_END].tobytes() == DISCO_MAGIC:
            return True
        offset += HEADER_LENGTH + _LENGTH.unpack_from(run, offset + 1)[0]
    return False


def is_disco(frame: bytes) -> bool:
    """Tell whether a packet's frame carries path discovery, which must not wait behind data."""
    skipped = KEY_LENGTH if frame[0] == Kind.FORWARD_PACKET else 0
    return frame[PACKET_HEADER_LENGTH + skipped : _DISCO_END + skipped] == DISCO_MAGIC
