"""One connection that a DERP relay has admitted, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import ClientCounters
from gatepost.sessions.derp_outbox import Outbox, OutboxLimits, Output
from gatepost.sessions.token_bucket import Pace, TokenBucket
from gatepost.wire.derp_present import PresentFlag

NOT_HERE_RATE = 3.0  # PeerGone(not here) a second to one client; more makes clients reconnect
MESH_NOTICES = 100_000  # presence notices that may wait for another server: all of a full relay's


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What one relay and each of its clients may use."""

    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    clients: int = 10_000
    gather: int = 4 << 20  # octets of a turn, over all, before they are written: what caches hold
    remembered: int = 4096  # peers a client sent to, who are told when it leaves
    rate: float = 0.0  # octets a second that one client may send; 0 is no limit
    burst: float = 256 << 10  # octets at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """What is known of a connection when it joins. Servers of the mesh have `MESH_PEER`."""

    address: str
    port: int = 0
    flags: PresentFlag = PresentFlag.REGULAR

    @property
    def is_mesh(self) -> bool:
        return bool(self.flags & PresentFlag.MESH_PEER)


class Client:
    """One admitted connection."""

    __slots__ = (
        "contested", "key", "left", "not_here", "octets", "outbox", "output", "pace", "packets",
        "preferred", "reached", "since", "slowed", "watches", "who",
    )  # fmt: skip

    def __init__(
        self, key: NodePublic, output: Output, *, who: Who, limits: RelayLimits, now: float
    ) -> None:
        self.key = key
        self.output = output
        self.who = who
        self.since = now
        self.outbox = Outbox(output, _outbox_limits(who, limits))
        self.not_here = TokenBucket(rate=NOT_HERE_RATE, burst=NOT_HERE_RATE, now=now)
        self.pace: Pace | None = None
        if limits.rate and not who.is_mesh:
            self.pace = Pace(rate=limits.rate, burst=limits.burst, now=now)
        self.reached: set[bytes] = set()
        self.preferred = False
        self.contested = False  # there are other connections with this key
        self.watches = False  # is told who comes and goes
        self.left = False
        self.packets = 0  # received from it
        self.octets = 0
        self.slowed = 0  # times it had to wait because of its rate

    def counters(self) -> ClientCounters:
        return ClientCounters(
            key=self.key,
            address=self.who.address,
            since=self.since,
            preferred=self.preferred,
            mesh=self.who.is_mesh,
            received_packets=self.packets,
            received_octets=self.octets,
            sent_packets=self.outbox.packets,
            sent_octets=self.outbox.octets,
            dropped_packets=self.outbox.dropped,
            waiting_octets=self.outbox.waiting,
            slowed=self.slowed,
        )


def _outbox_limits(who: Who, limits: RelayLimits) -> OutboxLimits:
    if not who.is_mesh:
        return limits.outbox
    return replace(limits.outbox, urgent=MESH_NOTICES, lossless=True)
