"""The relay of a DERP server: who is connected, where packets go, what is dropped.

It knows no sockets. A transport gives it the bytes it read (`receive`, in
place), takes what it writes (`Output`), reports when it takes no more
(`block`, `unblock`) and calls `flush` once a turn and `tick` about once a
second. Nothing here waits: a client that does not read costs the others
nothing, and holds at most what `OutboxLimits` says.
Source: protocol document 3.2.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gatepost.errors import Malformed
from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import ClientCounters, DropReason, RelayCounters
from gatepost.sessions.derp_duplicates import PROBLEM, Duplicates
from gatepost.sessions.derp_outbox import Outbox, OutboxLimits, Output
from gatepost.sessions.token_bucket import TokenBucket
from gatepost.wire.derp import KEEP_ALIVE, write_frame
from gatepost.wire.derp_batch import Run, holds_disco, readdress
from gatepost.wire.derp_frames import (
    ClosePeer,
    ForwardPacket,
    Frame,
    GoneReason,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    Ping,
    Pong,
    WatchPeers,
)

NOT_HERE_RATE = 3.0  # PeerGone(not here) a second to one client; more makes clients reconnect
WRITE_TIMEOUT = 10.0  # seconds without any progress until a client that does not read is dropped
_KEEP_ALIVE_FRAME = write_frame(KeepAlive())


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What one relay and each of its clients may use."""

    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    clients: int = 10_000
    remembered: int = 4096  # peers a client sent to, who are told when it leaves


class Client:
    """One admitted connection."""

    __slots__ = (
        "address", "contested", "key", "left", "not_here", "octets", "outbox", "output", "packets",
        "preferred", "reached", "since",
    )  # fmt: skip

    def __init__(
        self, key: NodePublic, output: Output, *, address: str, limits: RelayLimits, now: float
    ) -> None:
        self.key = key
        self.output = output
        self.address = address
        self.since = now
        self.outbox = Outbox(output, limits.outbox)
        self.not_here = TokenBucket(rate=NOT_HERE_RATE, burst=NOT_HERE_RATE, now=now)
        self.reached: set[bytes] = set()
        self.preferred = False
        self.contested = False  # there are other connections with this key
        self.left = False
        self.packets = 0  # received from it
        self.octets = 0

    def counters(self) -> ClientCounters:
        return ClientCounters(
            key=self.key,
            address=self.address,
            since=self.since,
            preferred=self.preferred,
            received_packets=self.packets,
            received_octets=self.octets,
            sent_packets=self.outbox.packets,
            sent_octets=self.outbox.octets,
            dropped_packets=self.outbox.dropped,
            waiting_octets=self.outbox.waiting,
        )


class Relay:
    """All clients of one DERP server. `wake` is called when a turn first needs `flush`."""

    def __init__(self, wake: Callable[[], None], limits: RelayLimits | None = None) -> None:
        self._wake = wake
        self._limits = limits or RelayLimits()
        self._active: dict[bytes, Client] = {}
        self._duplicates: dict[bytes, Duplicates[Client]] = {}
        self._clients: dict[int, Client] = {}  # by id(): a connection, not a key
        self._unflushed: list[Client] = []
        self._keep_alives: list[tuple[float, int, Client]] = []
        self._joined = 0
        self._gone = RelayCounters()  # what clients that left had counted
        self._dropped: Counter[DropReason] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def full(self) -> bool:
        return len(self._clients) >= self._limits.clients

    # --- clients come and go ------------------------------------------------
    def join(
        self, key: NodePublic, output: Output, *, address: str, now: float, jitter: float
    ) -> Client:
        """Admit a connection; `jitter` is 0 to 5 seconds, for its keep-alives."""
        client = Client(key, output, address=address, limits=self._limits, now=now)
        earlier = self._active.get(key.raw)
        if earlier is not None:
            self._contest(earlier, client)
        self._active[key.raw] = client
        self._clients[id(client)] = client
        self._joined += 1
        heapq.heappush(self._keep_alives, (now + KEEP_ALIVE + jitter, self._joined, client))
        return client

    def leave(self, client: Client) -> None:
        """Forget a connection; safe to call twice."""
        if client.left:
            return
        client.left = True
        del self._clients[id(client)]
        before = client.outbox.dropped
        client.outbox.discard()
        self._dropped[DropReason.GONE] += client.outbox.dropped - before
        self._dropped[DropReason.QUEUE_FULL] += before
        self._gone = self._gone.plus(client.counters())
        if client.contested:
            self._settle(client)
            return
        del self._active[client.key.raw]
        self._tell_gone(client)

    def expel(self, key: NodePublic) -> int:
        """Close all connections of a node that may no longer be here; return how many."""
        doomed = [c for c in self._clients.values() if c.key == key]
        for client in doomed:
            client.output.close("this node is no longer admitted")
        return len(doomed)

    def announce(self, frame: Frame) -> None:
        """Send one frame to every client."""
        written = write_frame(frame)
        for client in self._clients.values():
            self._control(client, written)

    # --- packets --------------------------------------------------------------
    def receive(self, client: Client, buffer: bytearray, end: int, now: float) -> int:
        """Take what `client` sent, `buffer[:end]`, and return how many octets were whole frames.

        The buffer is rewritten and may be used again at once. Raise `WireError`
        for what no client may send: its connection must then be closed.
        """
        batch = readdress(buffer, end, client.key.raw)
        if client.contested and batch.used:
            self._note_speaker(client)
        view = memoryview(buffer)
        for run in batch.runs:
            self._route(client, view, run, now)
        for frame in batch.others:
            self._on_frame(client, frame)
        return batch.used

    def _route(self, client: Client, view: memoryview, run: Run, now: float) -> None:
        key, start, stop, packets = run
        client.packets += packets
        client.octets += stop - start
        destination = self._active.get(key)
        if destination is None:
            self._dropped[DropReason.UNKNOWN_DESTINATION] += packets
            self._tell_not_here(client, NodePublic(key), view[start:stop], now)
            return
        if key not in client.reached and len(client.reached) < self._limits.remembered:
            client.reached.add(key)
        if destination.outbox.put(view[start:stop], packets):
            self._needs_flush(destination)

    def flush(self) -> None:
        """Write what this turn gathered; to be called soon after `wake`."""
        unflushed, self._unflushed = self._unflushed, []
        for client in unflushed:
            if not client.left:
                client.outbox.flush()

    def tick(self, now: float) -> None:
        """Send the keep-alives that are due and end connections that take nothing."""
        while self._keep_alives and self._keep_alives[0][0] <= now:
            _, number, client = heapq.heappop(self._keep_alives)
            if client.left:
                continue
            heapq.heappush(self._keep_alives, (now + KEEP_ALIVE, number, client))
            if client.outbox.blocked_since is None:  # else there is more to read than it wants
                self._control(client, _KEEP_ALIVE_FRAME)
        for client in tuple(self._clients.values()):
            if client.outbox.blocked_for(now) > WRITE_TIMEOUT:
                client.output.close(f"took nothing for {WRITE_TIMEOUT:.0f} s")

    # --- figures ----------------------------------------------------------------
    def counters(self) -> RelayCounters:
        """Return what happened since the start, with the clients that have left."""
        total = self._gone
        dropped = self._dropped.copy()
        for client in self._clients.values():
            total = total.plus(client.counters())
            dropped[DropReason.QUEUE_FULL] += client.outbox.dropped
        return total.with_state(
            clients=len(self._clients),
            homes=sum(c.preferred for c in self._clients.values()),
            duplicates=len(self._duplicates),
            dropped=dropped,
        )

    def clients(self) -> tuple[ClientCounters, ...]:
        return tuple(c.counters() for c in self._clients.values())

    # --- everything that is not a packet ----------------------------------------
    def _on_frame(self, client: Client, frame: Frame) -> None:
        match frame:
            case NotePreferred(preferred):
                client.preferred = preferred
            case Ping(token):
                self._control(client, write_frame(Pong(token)))
            case WatchPeers() | ClosePeer() | ForwardPacket():
                raise Malformed(f"{type(frame).__name__} needs a mesh key, and this relay has none")
            case _:
                pass  # of a later version, or of no meaning from a client

    def _needs_flush(self, client: Client) -> None:
        if not self._unflushed:
            self._wake()
        self._unflushed.append(client)

    def _control(self, client: Client, frame: bytes) -> None:
        if client.outbox.put_control(frame):
            self._needs_flush(client)

    def _tell_not_here(self, client: Client, peer: NodePublic, run: memoryview, now: float) -> None:
        """Answer discovery only: other packets in flight would make a storm of answers."""
        if holds_disco(run) and client.not_here.take(now):
            self._control(client, write_frame(PeerGone(peer, GoneReason.NOT_HERE)))

    def _tell_gone(self, client: Client) -> None:
        notice = write_frame(PeerGone(client.key, GoneReason.DISCONNECTED))
        for key in client.reached:
            peer = self._active.get(key)
            if peer is not None:
                self._control(peer, notice)

    # --- one key, several connections -------------------------------------------
    def _contest(self, earlier: Client, newest: Client) -> None:
        newest.contested = earlier.contested = True
        known = self._duplicates.get(newest.key.raw)
        if known is None:
            self._duplicates[newest.key.raw] = Duplicates(earlier, newest)
            return
        known.join(newest)
        if known.fighting:
            self._control(newest, write_frame(Health(PROBLEM)))

    def _note_speaker(self, client: Client) -> None:
        duplicates = self._duplicates[client.key.raw]
        fight_starts = duplicates.speak(client)
        self._active[client.key.raw] = client
        if fight_starts:
            for member in duplicates.members:
                self._control(member, write_frame(Health(PROBLEM)))

    def _settle(self, leaver: Client) -> None:
        """Take one of several connections out; packets go to the one that stays active."""
        duplicates = self._duplicates[leaver.key.raw]
        duplicates.leave(leaver)
        last = duplicates.active
        last.reached |= leaver.reached
        self._active[leaver.key.raw] = last
        if len(duplicates.members) > 1:
            return
        last.contested = False
        del self._duplicates[leaver.key.raw]
        if duplicates.fighting:
            self._control(last, write_frame(Health("")))
