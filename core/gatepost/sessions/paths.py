"""The paths to all peers: who a packet belongs to, and what is due when.

`PeerPath` decides for one peer. Here is what concerns all: disco keys to
peers, one heap of timers, and how often the device's counters are wanted.
Every method that takes `now` may leave outputs; `take` returns and clears them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_advertised import Advertised
from gatepost.sessions.paths_numbers import POLL_IDLE, POLL_OVERDUE, POLL_WATCHED
from gatepost.sessions.paths_outputs import (
    ByDerp,
    ByRelay,
    Counters,
    Output,
    PeerFacts,
    RelayPath,
    Send,
    Way,
)
from gatepost.sessions.paths_peer import PeerPath, State
from gatepost.sessions.paths_surroundings import Surroundings
from gatepost.wire.disco import AnyMessage, CallMeMaybe, Ping, Pong


class Paths:
    """All peers of one node. Keys that are not in the netmap are ignored everywhere."""

    def __init__(self, me: NodePublic, random_bytes: Callable[[int], bytes]) -> None:
        self._node = Surroundings(me=me, random_bytes=random_bytes)
        self._peers: dict[NodePublic, PeerPath] = {}
        self._by_disco: dict[DiscoPublic, tuple[NodePublic, ...]] = {}
        self._heap: list[tuple[float, NodePublic]] = []
        self._scheduled: dict[NodePublic, float] = {}
        self._watched: set[NodePublic] = set()
        self._places: dict[ByRelay, NodePublic] = {}
        self._advertised = Advertised()

    def take(self) -> list[Output]:
        """Return what is to be done, in order, and forget it."""
        taken, self._node.out[:] = self._node.out[:], []
        return taken

    # --- what is known -------------------------------------------------------------

    def set_peers(self, peers: Iterable[PeerFacts], now: float) -> None:
        """Take the peers of a new netmap; those that are missing are forgotten."""
        facts = self._advertised.apply({p.key: p for p in peers})
        for key in self._peers.keys() - facts.keys():
            del self._peers[key]
            self._scheduled.pop(key, None)
            self._watched.discard(key)
        self._places = {w: k for w, k in self._places.items() if k in facts}
        by_disco: dict[DiscoPublic, tuple[NodePublic, ...]] = {}
        for key, peer in facts.items():
            if peer.disco is not None:
                by_disco[peer.disco] = (*by_disco.get(peer.disco, ()), key)
            known = self._peers.get(key)
            if known is None:
                self._peers[key] = PeerPath(peer, self._node)
            elif known.facts != peer:
                known.set_facts(peer, now)
                self._touch(known, now)
        self._by_disco = by_disco

    def set_own_endpoints(
        self, endpoints: tuple[Endpoint, ...], now: float, *, fresh: bool
    ) -> None:
        """Take the addresses at which we are reached; `fresh` when STUN has just confirmed them.

        Peers that are looking for a path are told again when they changed.
        """
        changed = endpoints != self._node.own
        self._node.own = endpoints
        if fresh:
            self._node.own_at = now
        if not changed:
            return
        for key in self._watched:
            peer = self._peers[key]
            if peer.in_doubt or peer.state(now) is State.SEEKING:
                peer.call(now)

    def adopt(self, in_use: Mapping[NodePublic, Endpoint], now: float) -> None:
        """Take over the addresses that WireGuard uses already, after a restart of the daemon."""
        for key, endpoint in in_use.items():
            if (peer := self._peers.get(key)) and not (peer.direct or peer.relay):
                peer.adopt(endpoint, now)
                self._touch(peer, now)

    def peer(self, key: NodePublic) -> PeerPath | None:
        """Return the path to a peer, to be read only."""
        return self._peers.get(key)

    def peers(self) -> Iterable[PeerPath]:
        """Return all paths, to be read only."""
        return self._peers.values()

    def is_known(self, sender: DiscoPublic) -> bool:
        """Say whether a disco key belongs to anybody; asked before a box is opened."""
        return sender in self._by_disco

    def on_disco_key(self, key: NodePublic, disco: DiscoPublic, now: float) -> None:
        """Take a peer's new discovery key, told through the tunnel, until the netmap has one."""
        peer = self._peers.get(key)
        if peer is None or disco.is_zero or peer.facts.disco == disco:
            return
        self._advertised.add(key, disco)
        self.set_peers(self._advertised.netmap.values(), now)

    def owns(self, sender: DiscoPublic, key: NodePublic) -> bool:
        """Say whether a disco key is that of a peer."""
        return key in self._by_disco.get(sender, ())

    # --- what happens --------------------------------------------------------------

    def on_disco(self, sender: DiscoPublic, message: AnyMessage, way: Way, now: float) -> None:
        """Take a message whose box opened with the key of `sender`."""
        peer = self._owner(sender, message, way)
        if peer is None:
            return
        match message:
            case Ping():
                peer.on_ping(message, way, now)
            case Pong():
                peer.on_pong(message, way, now)
            case CallMeMaybe():
                if isinstance(way, ByDerp):  # a call proves a peer's wish only through DERP
                    peer.on_call(message, now)
            case _:  # of peer relays, or newer than this node
                return
        self._touch(peer, now)

    def relay_path_found(self, key: NodePublic, path: RelayPath, now: float) -> None:
        """Take a relay path whose end on our side is bound; said again for a new binding."""
        if peer := self._peers.get(key):
            self._places[path.way] = key
            peer.on_relay_found(path, now)
            self._touch(peer, now)

    def relay_path_lost(self, key: NodePublic, path: RelayPath, now: float) -> None:
        """Note that a relay path works no longer: expired, or given up by its relay."""
        if self._places.get(path.way) == key:
            del self._places[path.way]
        if peer := self._peers.get(key):
            peer.on_relay_lost(path, now)
            self._touch(peer, now)

    def on_relay_packet(self, key: NodePublic, packet: bytes, now: float) -> PeerPath | None:
        """Take a WireGuard packet that a relay brought to us instead of the kernel."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.on_packet(packet, now)
            self._touch(peer, now)
        return peer

    def on_held(
        self, key: NodePublic, endpoint: Endpoint, packet: bytes, now: float
    ) -> PeerPath | None:
        """Take a WireGuard packet from an address that is held; return whose it is."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.on_held(endpoint, packet, now)
            self._touch(peer, now)
        return peer

    def owner_of_place(self, way: ByRelay) -> NodePublic | None:
        """Return the peer that a relay path leads to, for packets that user space carries."""
        return self._places.get(way)

    def on_not_sent(self, sending: Send, trouble: str) -> None:
        """Note why our own machine did not send a message."""
        for key in self._by_disco.get(sending.receiver, ()):
            if candidate := self._peers[key].candidate(sending.way):
                candidate.trouble = trouble

    def on_outbound(self, key: NodePublic, packet: bytes, now: float) -> None:
        """Take a packet that WireGuard sent to the peer's proxy."""
        if peer := self._peers.get(key):
            peer.on_outbound(packet, now)
            self._touch(peer, now)

    def on_derp_packet(
        self, region: int, key: NodePublic, packet: bytes, now: float
    ) -> PeerPath | None:
        """Take a WireGuard packet that came by DERP; return whose it is if it may go on."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.on_derp_packet(region, packet, now)
            self._touch(peer, now)
        return peer

    def on_derp_gone(self, region: int, key: NodePublic) -> None:
        """Note that a region does not have the peer."""
        if peer := self._peers.get(key):
            peer.on_derp_gone(region)

    def on_counters(self, readings: Iterable[Counters], now: float) -> None:
        """Take one reading of the device."""
        for reading in readings:
            if peer := self._peers.get(reading.key):
                peer.on_counters(reading, now)
                if peer.is_watched(now):
                    self._touch(peer, now)

    def probe(self, key: NodePublic, now: float, size: int = 0) -> bytes | None:
        """Ping a peer for somebody who waits; None when the peer has no disco key or no way.

        `size` is octets of the whole packet, 0 the smallest; DERP has no packets to size.
        """
        peer = self._peers.get(key)
        if (
            peer is None
            or peer.facts.disco is None
            or not (peer.direct or peer.relay or peer.region)
        ):
            return None
        transaction = peer.probe(now, size)
        self._touch(peer, now)
        return transaction

    # --- time ----------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When to call `on_timer`; too early is harmless."""
        while self._heap:
            when, key = self._heap[0]
            if self._scheduled.get(key) == when:
                return when
            heapq.heappop(self._heap)
        return None

    def on_timer(self, now: float) -> None:
        """Do what is due for every peer."""
        while (when := self.next_timer()) is not None and when <= now:
            _, key = heapq.heappop(self._heap)
            del self._scheduled[key]
            peer = self._peers[key]
            peer.on_timer(now)
            self._touch(peer, now)

    def is_busy(self, now: float) -> bool:
        """Say whether any peer has traffic or a direct path."""
        return any(self._peers[k].is_watched(now) for k in self._watched)

    def poll_interval(self, now: float) -> float:
        """How long after the last reading of the counters the next one is wanted, in seconds."""
        self._watched = {k for k in self._watched if self._peers[k].is_watched(now)}
        if any(self._peers[k].is_overdue(now) for k in self._watched):
            return POLL_OVERDUE
        return POLL_WATCHED if self._watched else POLL_IDLE

    def _touch(self, peer: PeerPath, now: float) -> None:
        """Set the peer's timer after something happened to it."""
        key = peer.facts.key
        if peer.is_watched(now):
            self._watched.add(key)
        when = peer.timer()
        scheduled = self._scheduled.get(key)
        if when is not None and (scheduled is None or when < scheduled):
            self._scheduled[key] = when
            heapq.heappush(self._heap, (when, key))

    def _owner(self, sender: DiscoPublic, message: AnyMessage, way: Way) -> PeerPath | None:
        """Find the peer behind a disco key, which several nodes of one machine may share."""
        keys = self._by_disco.get(sender, ())
        if isinstance(way, ByDerp):
            keys = tuple(k for k in keys if k == way.node)
        elif isinstance(message, Ping) and message.node is not None:
            keys = tuple(k for k in keys if k == message.node)
        elif isinstance(message, Pong) and len(keys) > 1:
            keys = tuple(k for k in keys if self._peers[k].asked(message.transaction))
        return self._peers[keys[0]] if keys else None
