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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCounters:
    """One connection: "received" is from the client, "sent" was written to it, with headers."""

    key: NodePublic
    address: str
    since: float  # of the relay's clock
    preferred: bool  # the client called this relay its home
    received_packets: int
    received_octets: int
    sent_packets: int
    sent_octets: int
    dropped_packets: int  # on the way to it
    waiting_octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCounters:
    """The whole relay since its start; the first three and `waiting_octets` are of this moment."""

    clients: int = 0
    homes: int = 0
    duplicates: int = 0  # keys with several connections
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
        )

    def with_state(
        self, *, clients: int, homes: int, duplicates: int, dropped: Mapping[DropReason, int]
    ) -> Self:
        """Return the same sums with the state of this moment; every reason has a number."""
        complete = {reason: dropped.get(reason, 0) for reason in DropReason}
        return replace(
            self,
            clients=clients,
            homes=homes,
            duplicates=duplicates,
            dropped=MappingProxyType(complete),
        )
