"""Several DERP servers of one region: who is where, and who must hear of it.

Each server dials every other one with the key that they share. On a connection
that we dialled (`Neighbour`) the other side tells us its clients and takes
packets for them; on one that they dialled (a `Client` that watches) we do the
same for them. A packet crosses at most one such connection: what arrives
forwarded is never forwarded again.
Source: protocol document 3.2; what happens when a connection breaks is as in derper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_member import Client
from gatepost.sessions.derp_outbox import Outbox, OutboxLimits, Output
from gatepost.wire.derp import write_frame
from gatepost.wire.derp_batch import forwarded
from gatepost.wire.derp_frames import GoneReason, PeerGone, PeerPresent
from gatepost.wire.derp_present import write_details

REMEMBERED = 1 << 20  # pairs of a distant sender and a client of ours that it sent to
NEIGHBOUR_LIMITS = OutboxLimits(packets=4096, octets=8 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourCounters:
    """One dialled server. `clients` is of this moment."""

    key: NodePublic
    clients: int
    sent_packets: int
    sent_octets: int
    dropped_packets: int
    waiting_octets: int


class Neighbour:
    """Another server that we are connected to, and the clients that it told us of."""

    __slots__ = ("key", "outbox", "present")

    def __init__(self, key: NodePublic, output: Output) -> None:
        self.key = key
        self.outbox = Outbox(output, NEIGHBOUR_LIMITS)
        self.present: set[bytes] = set()

    def forward(self, run: memoryview, packets: int, destination: bytes) -> bool:
        """Send a run of ReceivePackets there; return whether `flush` is newly needed."""
        return self.outbox.put(forwarded(run, destination), packets)

    def counters(self) -> NeighbourCounters:
        return NeighbourCounters(
            key=self.key,
            clients=len(self.present),
            sent_packets=self.outbox.packets,
            sent_octets=self.outbox.octets,
            dropped_packets=self.outbox.dropped,
            waiting_octets=self.outbox.waiting,
        )


class Mesh:
    """The neighbours, their clients, and those who watch ours."""

    def __init__(self) -> None:
        self.neighbours: list[Neighbour] = []
        self.watchers: list[Client] = []
        self._routes: dict[bytes, list[Neighbour]] = {}
        self._heard: dict[bytes, set[bytes]] = {}  # by distant sender: clients it sent to
        self._pairs = 0

    def __len__(self) -> int:
        """How many keys are on other servers."""
        return len(self._routes)

    def route(self, key: bytes) -> Neighbour | None:
        """Return the server that has had this client for longest."""
        found = self._routes.get(key)
        return found[0] if found else None

    # --- our clients ------------------------------------------------------------
    def presence(self, client: Client) -> bytes:
        who = client.who
        details = write_details(who.address, who.port, who.flags)
        return write_frame(PeerPresent(client.key, details))

    def absence(self, key: NodePublic) -> bytes:
        return write_frame(PeerGone(key, GoneReason.DISCONNECTED))

    # --- theirs -------------------------------------------------------------------
    def join(self, neighbour: Neighbour) -> None:
        self.neighbours.append(neighbour)

    def add(self, neighbour: Neighbour, key: bytes) -> None:
        """Note a client of a neighbour; it may be told twice."""
        if key in neighbour.present:
            return
        neighbour.present.add(key)
        self._routes.setdefault(key, []).append(neighbour)

    def remove(self, neighbour: Neighbour, key: bytes) -> set[bytes]:
        """Forget one; return which of our clients must be told that it is gone."""
        if key not in neighbour.present:
            return set()
        neighbour.present.discard(key)
        routes = self._routes[key]
        routes.remove(neighbour)
        if routes:
            return set()
        del self._routes[key]
        listeners = self._heard.pop(key, set())
        self._pairs -= len(listeners)
        return listeners

    def leave(self, neighbour: Neighbour) -> list[tuple[bytes, set[bytes]]]:
        """Forget a neighbour; return its clients with those of ours that must be told."""
        if neighbour not in self.neighbours:
            return []
        self.neighbours.remove(neighbour)
        return [(key, self.remove(neighbour, key)) for key in tuple(neighbour.present)]

    def heard(self, sender: bytes, listener: bytes) -> None:
        """Note that a distant client sent something to one of ours."""
        listeners = self._heard.get(sender)
        if listeners is None:
            if sender not in self._routes or self._pairs >= REMEMBERED:
                return
            listeners = self._heard[sender] = set()
        if listener not in listeners and self._pairs < REMEMBERED:
            listeners.add(listener)
            self._pairs += 1

    def watching(self) -> Iterable[Client]:
        return tuple(self.watchers)
