"""Forward DERP packets many at a time: the relay's inner loop.

A SendPacket and the ReceivePacket it becomes have the same size:

    offset  arrives as        leaves as
    0       04 SendPacket     05 ReceivePacket
    1       length            length, the same
    5       32 destination    32 source
    37      payload           payload, the same

So the header is rewritten where it stands, and neighbours with one destination
leave as one slice. A sender's packets mostly go to one peer and have one size:
comparing the whole 37-byte header with its neighbour's finds that at half the
price of reading each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gatepost.errors import Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.wire.derp import DISCO_MAGIC, HEADER_LENGTH, read_frame, read_header
from gatepost.wire.derp_frames import Frame, Kind

PACKET_HEADER_LENGTH = HEADER_LENGTH + KEY_LENGTH  # bytes
Run = tuple[bytes, int, int, int]  # destination, first octet, octet behind the last, packets

_LENGTH = struct.Struct(">I")
_RECEIVE = bytes((Kind.RECEIVE_PACKET,))
_DISCO_END = PACKET_HEADER_LENGTH + len(DISCO_MAGIC)


@dataclass(slots=True)
class Batch:
    """What one read brought: runs of packets, all other frames, and how far it was whole."""

    runs: list[Run] = field(default_factory=list)
    others: list[Frame] = field(default_factory=list)
    used: int = 0  # octets


def readdress(buffer: bytearray, end: int, source: bytes) -> Batch:
    """Turn the SendPackets in `buffer[:end]` into ReceivePackets from `source`, in place.

    Raise `Malformed` or `Truncated` at the first frame that is wrong; the
    buffer is then of no more use.
    """
    batch = Batch()
    offset = 0
    while end - offset >= HEADER_LENGTH:
        kind, length = read_header(buffer, offset)
        stop = offset + HEADER_LENGTH + length
        if stop > end:
            break
        if kind == Kind.SEND_PACKET:
            if length < KEY_LENGTH:
                raise Truncated(f"a DERP packet has at least {KEY_LENGTH} bytes, not {length}")
            stop = _readdress_run(buffer, offset, end, source, batch.runs)
        else:
            batch.others.append(read_frame(kind, bytes(buffer[offset + HEADER_LENGTH : stop])))
        offset = stop
    batch.used = offset
    return batch


def _readdress_run(buffer: bytearray, offset: int, end: int, source: bytes, runs: list[Run]) -> int:
    """Rewrite the packet at `offset` and all like it behind it; return where they end."""
    first = offset
    header = buffer[offset : offset + PACKET_HEADER_LENGTH]
    size = HEADER_LENGTH + _LENGTH.unpack_from(header, 1)[0]
    replacement = _RECEIVE + header[1:HEADER_LENGTH] + source
    last = end - size
    while offset <= last and buffer[offset : offset + PACKET_HEADER_LENGTH] == header:
        buffer[offset : offset + PACKET_HEADER_LENGTH] = replacement
        offset += size
    destination = bytes(header[HEADER_LENGTH:])
    count = (offset - first) // size
    if runs and runs[-1][0] == destination and runs[-1][2] == first:
        _, first, _, before = runs.pop()
        count += before
    runs.append((destination, first, offset, count))
    return offset


def split(run: bytes | memoryview) -> list[bytes]:
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
    return frame[PACKET_HEADER_LENGTH:_DISCO_END] == DISCO_MAGIC
