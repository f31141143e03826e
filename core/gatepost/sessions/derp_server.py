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
from collections.abc import Callable, Iterable
from dataclasses import replace

from gatepost.errors import Malformed
from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_counters import ClientCounters, DropReason, RelayCounters
from gatepost.sessions.derp_duplicates import PROBLEM, Duplicates
from gatepost.sessions.derp_member import Client, RelayLimits, Who
from gatepost.sessions.derp_mesh import Mesh, Neighbour, NeighbourCounters
from gatepost.sessions.derp_outbox import Outbox, Output
from gatepost.wire.derp import KEEP_ALIVE, write_frame
from gatepost.wire.derp_batch import Run, holds_disco, is_disco, readdress
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
    ReceivePacket,
    WatchPeers,
)

WRITE_TIMEOUT = 10.0  # seconds without any progress until a client that does not read is dropped
_KEEP_ALIVE_FRAME = write_frame(KeepAlive())


class Relay:
    """All clients of one DERP server. `wake` is called when a turn first needs `flush`."""

    def __init__(self, wake: Callable[[], None], limits: RelayLimits | None = None) -> None:
        self._wake = wake
        self._limits = limits or RelayLimits()
        self._active: dict[bytes, Client] = {}
        self._duplicates: dict[bytes, Duplicates[Client]] = {}
        self._clients: dict[int, Client] = {}  # by id(): a connection, not a key
        self._mesh = Mesh()
        self._unflushed: list[Outbox] = []
        self.gathered = 0  # octets of the readers' buffer that are in use until `flush`
        self._keep_alives: list[tuple[float, int, Client]] = []
        self._joined = 0
        self._forwarded = 0
        self._gone = RelayCounters()  # what clients that left had counted
        self._dropped: Counter[DropReason] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def full(self) -> bool:
        return len(self._clients) >= self._limits.clients

    # --- clients come and go ------------------------------------------------
    def join(
        self, key: NodePublic, output: Output, *, who: Who, now: float, jitter: float
    ) -> Client:
        """Admit a connection; `jitter` is 0 to 5 seconds, for its keep-alives."""
        client = Client(key, output, who=who, limits=self._limits, now=now)
        earlier = self._active.get(key.raw)
        if earlier is not None:
            self._contest(earlier, client)
        self._active[key.raw] = client
        self._clients[id(client)] = client
        self._joined += 1
        heapq.heappush(self._keep_alives, (now + KEEP_ALIVE + jitter, self._joined, client))
        self._broadcast(self._mesh.presence(client))
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
        if client.watches:
            self._mesh.watchers.remove(client)
        if client.contested:
            self._settle(client)
            return
        del self._active[client.key.raw]
        self._broadcast(self._mesh.absence(client.key))
        if self._mesh.route(client.key.raw) is None:
            self._tell_gone(client.key, client.reached)

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
    def receive(
        self, client: Client, buffer: bytearray, end: int, now: float, start: int = 0
    ) -> int:
        """Take what `client` sent, `buffer[start:end]`; return how many octets were whole frames.

        They are rewritten and stay in use until `flush`: `start` is `gathered` where one buffer
        serves several reads. Raise `WireError` for what no client may send: its connection must
        then be closed.
        """
        batch = readdress(buffer, end, client.key.raw, start)
        if client.contested and batch.used:
            self._note_speaker(client)
        if batch.runs:
            self._route(client, memoryview(buffer), batch.runs, now)
            if self._unflushed:  # else everything was written already
                self.gathered += batch.used
            if self.gathered >= self._limits.gather:
                self.flush()
        for frame in batch.others:
            self._on_frame(client, frame, now)
        return batch.used

    def _route(self, client: Client, buffer: memoryview, runs: list[Run], now: float) -> None:
        """Give each run to its destination; in a mesh one has a single packet, so this is short."""
        find, reached, unflushed = self._active.get, client.reached, self._unflushed
        direct = self._limits.outbox.direct
        received = octets = 0
        for key, start, stop, packets in runs:
            received += packets
            octets += stop - start
            destination = find(key)
            if destination is None:
                self._route_away(client, buffer[start:stop], key, packets, now)
                continue
            if key not in reached and len(reached) < self._limits.remembered:
                reached.add(key)
            outbox = destination.outbox
            put = outbox.gather if stop - start < direct else outbox.put
            if put(buffer[start:stop], packets):
                if not unflushed:
                    self._wake()
                unflushed.append(outbox)
        client.packets += received
        client.octets += octets

    def _route_away(
        self, client: Client, run: memoryview, key: bytes, packets: int, now: float
    ) -> None:
        """Send packets to another server, or drop them and say so."""
        neighbour = self._mesh.route(key)
        if neighbour is None:
            self._dropped[DropReason.UNKNOWN_DESTINATION] += packets
            if holds_disco(run):  # answers to data in flight would make a storm
                self._tell_not_here(client, NodePublic(key), now)
            return
        self._forwarded += packets
        if neighbour.forward(run, packets, key):
            self._needs_flush(neighbour.outbox)

    def flush(self) -> None:
        """Write what this turn gathered; to be called soon after `wake`."""
        unflushed, self._unflushed = self._unflushed, []
        for outbox in unflushed:
            outbox.flush()
        self.gathered = 0

    def tick(self, now: float) -> None:
        """Send the keep-alives that are due and end connections that take nothing."""
        while self._keep_alives and self._keep_alives[0][0] <= now:
            _, number, client = heapq.heappop(self._keep_alives)
            if client.left:
                continue
            heapq.heappush(self._keep_alives, (now + KEEP_ALIVE, number, client))
            if client.outbox.blocked_since is None:  # else there is more to read than it wants
                self._control(client, _KEEP_ALIVE_FRAME)
        members: list[Client | Neighbour] = [*self._clients.values(), *self._mesh.neighbours]
        for member in members:
            if member.outbox.blocked_for(now) > WRITE_TIMEOUT:
                member.outbox.close(f"took nothing for {WRITE_TIMEOUT:.0f} s")

    # --- other servers of the region --------------------------------------------
    def neighbour(self, key: NodePublic, output: Output) -> Neighbour:
        """Note a server that we dialled and that has accepted us."""
        neighbour = Neighbour(key, output)
        self._mesh.join(neighbour)
        return neighbour

    def neighbour_has(self, neighbour: Neighbour, key: NodePublic) -> None:
        self._mesh.add(neighbour, key.raw)

    def neighbour_lost(self, neighbour: Neighbour, key: NodePublic) -> None:
        self._tell_gone(key, self._mesh.remove(neighbour, key.raw))

    def neighbour_left(self, neighbour: Neighbour) -> None:
        """Forget a server, and all that it had; safe to call twice."""
        if neighbour in self._mesh.neighbours:
            before = neighbour.outbox.dropped
            neighbour.outbox.discard()
            self._dropped[DropReason.MESH_LEFT] += neighbour.outbox.dropped - before
            self._dropped[DropReason.MESH_QUEUE_FULL] += before
        for key, listeners in self._mesh.leave(neighbour):
            self._tell_gone(NodePublic(key), listeners)

    # --- figures ----------------------------------------------------------------
    def counters(self) -> RelayCounters:
        """Return what happened since the start, with the clients that have left."""
        total = self._gone
        dropped = self._dropped.copy()
        for client in self._clients.values():
            total = total.plus(client.counters())
            dropped[DropReason.QUEUE_FULL] += client.outbox.dropped
        for neighbour in self._mesh.neighbours:
            dropped[DropReason.MESH_QUEUE_FULL] += neighbour.outbox.dropped
        state = replace(
            total,
            clients=len(self._clients),
            homes=sum(c.preferred for c in self._clients.values()),
            duplicates=len(self._duplicates),
            watchers=len(self._mesh.watchers),
            distant=len(self._mesh),
            forwarded_packets=self._forwarded,
            joined=self._joined,
        )
        return state.with_drops(dropped)

    def clients(self) -> tuple[ClientCounters, ...]:
        return tuple(c.counters() for c in self._clients.values())

    def neighbours(self) -> tuple[NeighbourCounters, ...]:
        return tuple(n.counters() for n in self._mesh.neighbours)

    # --- everything that is not a packet ----------------------------------------
    def _on_frame(self, client: Client, frame: Frame, now: float) -> None:
        match frame:
            case NotePreferred(preferred):
                client.preferred = preferred
            case Ping(token):
                self._control(client, write_frame(Pong(token)))
            case WatchPeers() | ClosePeer() | ForwardPacket():
                if not client.who.is_mesh:
                    raise Malformed(f"{type(frame).__name__} needs the mesh key of this relay")
                self._on_mesh_frame(client, frame, now)
            case _:
                pass  # of a later version, or of no meaning from a client

    def _on_mesh_frame(
        self, client: Client, frame: WatchPeers | ClosePeer | ForwardPacket, now: float
    ) -> None:
        match frame:
            case WatchPeers():
                if not client.watches:
                    client.watches = True
                    self._mesh.watchers.append(client)
                    for other in tuple(self._active.values()):
                        self._control(client, self._mesh.presence(other))
            case ClosePeer(peer):
                self.expel(peer)
            case ForwardPacket():
                self._on_forwarded(client, frame, now)

    def _on_forwarded(self, server: Client, packet: ForwardPacket, now: float) -> None:
        """Deliver what another server brings; never forward it again."""
        server.packets += 1
        server.octets += len(packet.payload)
        destination = self._active.get(packet.destination.raw)
        delivered = write_frame(ReceivePacket(packet.source, packet.payload))
        if destination is None:
            self._dropped[DropReason.UNKNOWN_FORWARDED] += 1
            if is_disco(delivered):
                self._tell_not_here(server, packet.destination, now)
            return
        self._mesh.heard(packet.source.raw, packet.destination.raw)
        if destination.outbox.put(delivered, 1):
            self._needs_flush(destination.outbox)

    def _broadcast(self, frame: bytes) -> None:
        for watcher in self._mesh.watching():
            self._control(watcher, frame)

    def _needs_flush(self, outbox: Outbox) -> None:
        if not self._unflushed:
            self._wake()
        self._unflushed.append(outbox)

    def _control(self, client: Client, frame: bytes) -> None:
        if client.outbox.put_control(frame):
            self._needs_flush(client.outbox)

    def _tell_not_here(self, client: Client, peer: NodePublic, now: float) -> None:
        if client.not_here.take(now):
            self._control(client, write_frame(PeerGone(peer, GoneReason.NOT_HERE)))

    def _tell_gone(self, key: NodePublic, listeners: Iterable[bytes]) -> None:
        notice = write_frame(PeerGone(key, GoneReason.DISCONNECTED))
        for listener in listeners:
            peer = self._active.get(listener)
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
