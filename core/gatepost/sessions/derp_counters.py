"""What a DERP relay counts, as frozen values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from gatepost.model.keys import NodePublic


class DropReason(enum.StrEnum):
    """Why a packet was not delivered."""

    UNKNOWN_DESTINATION = "unknown destination"
    QUEUE_FULL = "queue full"  # its destination reads too slowly; the oldest goes
    GONE = "gone"  # it waited for a client that left
    MESH_QUEUE_FULL = "mesh queue full"  # another server of the region reads too slowly
    MESH_LEFT = "mesh left"  # it waited for another server that left
    UNKNOWN_FORWARDED = "unknown destination of a forwarded packet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCounters:
    """One connection: "received" is from the client, "sent" was written to it, with headers."""

    key: NodePublic
    address: str
    since: float  # of the relay's clock
    preferred: bool  # the client called this relay its home
    mesh: bool  # another server of the region
    received_packets: int
    received_octets: int
    sent_packets: int
    sent_octets: int
    dropped_packets: int  # on the way to it
    waiting_octets: int
    slowed: int  # times it had to wait because it sent more than its rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCounters:
    """The whole relay since its start; the first five and `waiting_octets` are of this moment."""

    clients: int = 0
    homes: int = 0
    duplicates: int = 0  # keys with several connections
    watchers: int = 0  # other servers that are told who comes and goes
    distant: int = 0  # keys that other servers told us of
    forwarded_packets: int = 0  # to other servers
    joined: int = 0  # connections since the start
    slowed: int = 0
    received_packets: int = 0
    received_octets: int = 0
    sent_packets: int = 0
    sent_octets: int = 0
    waiting_octets: int = 0
    dropped: Mapping[DropReason, int] = field(default_factory=lambda: MappingProxyType({}))

    def plus(self, client: ClientCounters) -> Self:
        return replace(
            self,
            received_packets=self.received_packets + client.received_packets,
            received_octets=self.received_octets + client.received_octets,
            sent_packets=self.sent_packets + client.sent_packets,
            sent_octets=self.sent_octets + client.sent_octets,
            waiting_octets=self.waiting_octets + client.waiting_octets,
            slowed=self.slowed + client.slowed,
        )

    def with_drops(self, dropped: Mapping[DropReason, int]) -> Self:
        """Return the same sums with these drops; every reason has a number."""
        complete = {reason: dropped.get(reason, 0) for reason in DropReason}
        return replace(self, dropped=MappingProxyType(complete))
