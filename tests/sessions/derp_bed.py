"""A relay with transports that remember and can be full."""

from __future__ import annotations

from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import DropReason
from gatepost.sessions.derp_member import Client, RelayLimits, Who
from gatepost.sessions.derp_server import Relay
from gatepost.wire.derp import DISCO_MAGIC, FrameReader, write_frame
from gatepost.wire.derp_frames import Frame

A = NodePublic(b"\xaa" * 32)
B = NodePublic(b"\xbb" * 32)
C = NodePublic(b"\xcc" * 32)
DISCO = DISCO_MAGIC + bytes(80)


class Wire:
    """A transport that takes `room` writes, then reports that it is full."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.writes = 0
        self.closed = ""
        self.room = 1 << 30
        self.held = 0
        self.client: Client | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.writes += 1
        self.room -= 1
        if self.room <= 0 and self.client is not None:
            self.client.outbox.block(0.0)

    def close(self, reason: str) -> None:
        self.closed = reason

    def unsent(self) -> int:
        return self.held

    def frames(self) -> list[Frame]:
        """Return what came since the last call."""
        found = list(FrameReader().receive(bytes(self.written)))
        self.written.clear()
        return found


class Bed:
    """A relay with a turn that flushes, as the loop would."""

    def __init__(self, limits: RelayLimits | None = None) -> None:
        self.wakes = 0
        self.relay = Relay(self._wake, limits)

    def _wake(self) -> None:
        self.wakes += 1

    def join(self, key: NodePublic, now: float = 0.0) -> tuple[Client, Wire]:
        wire = Wire()
        wire.client = self.relay.join(key, wire, who=Who(address="192.0.2.1"), now=now, jitter=0.0)
        return wire.client, wire

    def send(self, client: Client, *frames: Frame, now: float = 0.0) -> None:
        stream = bytearray(b"".join(map(write_frame, frames)))
        assert self.relay.receive(client, stream, len(stream), now) == len(stream)
        self.relay.flush()

    def dropped(self, reason: DropReason) -> int:
        return self.relay.counters().dropped[reason]
