"""Peer relays from the client's side: find them, get a place at one, bind our end of it.

    path session        this session                relay              peer
      seek(peer) ------> AllocateRequest --DERP----->
                         AllocateResponse <--DERP----
                         CallMeMaybeVia ---DERP------------------------>
                         BindRelay ---Geneve, control, all addresses-->
                         BindChallenge <--------------
                         BindAnswer ------------------>        (the peer binds its end too)
      <---- Found(RelayPath), and it pings the peer through the relay
      <---- Lost(RelayPath) when nothing was heard of the place for its lifetime

Which path is used is not decided here (`gatepost.sessions.paths`). What a relay
or a peer says is believed only as far as it can hurt nobody else: an
allocation must be for this pair of disco keys and newer than the last one of
that relay, challenges must come from the relay's own addresses, and a place
that is in use is never given to another peer. Source: protocol document 4.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, Send, Way
from gatepost.sessions.relay_client_numbers import (
    ASK_AGAIN,
    ASK_FOR,
    CALL_WINDOW,
    CALLS_HEEDED,
    LARGEST_VNI,
    MOST_PLACES,
    MOST_RELAYS,
    PLACES_PER_PEER,
)
from gatepost.sessions.relay_client_outputs import (
    AskOurselves,
    Found,
    Lost,
    Outcome,
    RelayNode,
    RelayOutput,
)
from gatepost.sessions.relay_client_place import Place, PlaceState
from gatepost.wire.disco import AnyMessage
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    Allocation,
    BindChallenge,
    CallMeMaybeVia,
)


@dataclass(slots=True)
class _Asking:
    """A request for an allocation that is not answered yet."""

    relay: RelayNode
    peer: RelayNode
    request: AllocateRequest
    again_at: float
    ends_at: float

    @property
    def timer(self) -> float:
        return min(self.again_at, self.ends_at)


class RelayClient:
    """All places of one node. Every method that takes `now` may leave outputs for `take`."""

    def __init__(self, disco: DiscoPublic, random_bytes: Callable[[int], bytes]) -> None:
        self._me: NodePublic | None = None
        self._disco = disco
        self._numbers = itertools.count(int.from_bytes(random_bytes(3), "big"))
        self._relays: dict[NodePublic, RelayNode] = {}
        self._peers: dict[NodePublic, RelayNode] = {}
        self._asking: dict[tuple[NodePublic, NodePublic], _Asking] = {}
        self._places: dict[tuple[DiscoPublic, int], Place] = {}
        self._ways: dict[ByRelay, Place] = {}
        self._calls: dict[NodePublic, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Place | _Asking]] = []
        self._order = itertools.count()
        self._out: list[RelayOutput] = []
        self._outcomes: dict[tuple[NodePublic, NodePublic | None], Outcome] = {}

    def take(self) -> list[RelayOutput]:
        """Return what is to be done, in order, and forget it."""
        taken, self._out = self._out, []
        return taken

    # --- what is known -------------------------------------------------------------

    def set_nodes(
        self, me: NodePublic, relays: Iterable[RelayNode], peers: Iterable[RelayNode]
    ) -> None:
        """Take who may relay for us, maybe we ourselves, and who could use a relay.

        Paths to peers that are gone or have a new disco key are lost.
        """
        self._me = me
        self._relays = {r.key: r for r in relays}
        self._peers = {p.key: p for p in peers}
        for place in tuple(self._places.values()):
            peer = self._peers.get(place.peer)
            if peer is None or peer.disco != place.remote:
                self._drop(place)
        for pair, asking in tuple(self._asking.items()):
            if self._relays.get(pair[0]) is None or self._peers.get(pair[1]) != asking.peer:
                del self._asking[pair]
        self._calls = {k: c for k, c in self._calls.items() if k in self._peers}
        self._outcomes = {k: t for k, t in self._outcomes.items() if k[0] in self._peers}

    @property
    def relays(self) -> Mapping[NodePublic, RelayNode]:
        """The nodes that may relay for us, this one included when it is a relay."""
        return self._relays

    def is_known(self, sender: DiscoPublic) -> bool:
        """Say whether a key is that of a relay that we are binding to; asked before opening."""
        return any(p.allocation.relay == sender for p in self._places.values())

    def places(self) -> Iterable[Place]:
        """Return all places, to be read only."""
        return self._places.values()

    def outcomes(self, peer: NodePublic) -> Mapping[NodePublic | None, Outcome]:
        """Return how far we came with each relay; None is a relay that the peer told us of."""
        return {relay: o for (key, relay), o in self._outcomes.items() if key == peer}

    # --- what happens --------------------------------------------------------------

    def seek(self, peer: NodePublic, now: float) -> None:
        """Ask the relays for a place for us and this peer; a request under way goes on."""
        known = self._peers.get(peer)
        if known is None:
            return
        for relay in itertools.islice(self._relays.values(), MOST_RELAYS):
            if (relay.key, peer) in self._asking:
                continue
            request = AllocateRequest((self._disco, known.disco), self._generation())
            asking = _Asking(relay, known, request, now + ASK_AGAIN, now + ASK_FOR)
            self._asking[relay.key, peer] = asking
            self._ask(asking)
            self._schedule(asking)

    def rebind(self, now: float) -> None:
        """Bind every open place again: our address has changed."""
        for place in self._places.values():
            if place.state is PlaceState.OPEN:
                self._bind(place, now)

    def bind_again(self, way: ByRelay, now: float) -> None:
        """Bind a place again at the same address: our packets leave by another flow now."""
        if place := self._ways.get(way):
            self._bind(place, now, same=True)

    def on_message(self, sender: DiscoPublic, message: AnyMessage, way: Way, now: float) -> None:
        """Take a message whose box opened with the key of `sender`."""
        match message, way:
            case AllocateResponse(), ByDerp():
                self._on_response(sender, message, way.node, now)
            case CallMeMaybeVia(allocation), ByDerp():
                self._on_call(sender, allocation, way.node, now)
            case BindChallenge(), ByRelay():
                self._on_challenge(sender, message, way, now)
            case _:
                return

    def on_heard(self, sender: DiscoPublic, way: ByRelay, now: float) -> None:
        """Note a ping or a pong of `sender` that came through a relay."""
        place = self._ways.get(way)
        if place is not None and place.remote == sender:
            place.on_heard(now)
            self._note(place, Outcome.WORKS)
            self._schedule(place)

    # --- time ----------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When to call `on_timer`; too early is harmless."""
        while self._heap:
            when, _, item = self._heap[0]
            if self._is_current(item) and item.timer <= when:
                return when
            heapq.heappop(self._heap)
            if self._is_current(item):
                self._schedule(item)
        return None

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        while (when := self.next_timer()) is not None and when <= now:
            _, _, item = heapq.heappop(self._heap)
            if isinstance(item, _Asking):
                self._on_asking_due(item, now)
            elif item.is_over(now):
                self._on_over(item)
            else:
                self._out += item.on_timer(now)
                self._schedule(item)

    # --- allocations ---------------------------------------------------------------

    def _ask(self, asking: _Asking) -> None:
        relay = asking.relay
        self._outcomes[asking.peer.key, relay.key] = Outcome.ASKED
        if relay.key == self._me:
            self._out.append(AskOurselves(asking.request))
            return
        self._out.append(Send(relay.disco, ByDerp(relay.home, relay.key), asking.request))

    def _on_asking_due(self, asking: _Asking, now: float) -> None:
        pair = (asking.relay.key, asking.peer.key)
        if now >= asking.ends_at:
            del self._asking[pair]
            self._outcomes[asking.peer.key, asking.relay.key] = Outcome.SILENT
            return
        asking.again_at = float("inf")  # once is enough: DERP loses little
        self._ask(asking)
        self._schedule(asking)

    def _on_response(
        self, sender: DiscoPublic, response: AllocateResponse, node: NodePublic, now: float
    ) -> None:
        relay = self._relays.get(node)
        if relay is None or relay.disco != sender:
            return
        asking = next(
            (
                a
                for (key, _), a in self._asking.items()
                if key == node and a.request.generation == response.generation
            ),
            None,
        )
        if asking is None or not self._is_for(response.allocation, asking.peer):
            return
        del self._asking[node, asking.peer.key]
        peer, allocation = asking.peer, response.allocation
        if not self._take_allocation(peer, allocation, node, now):
            self._outcomes[peer.key, node] = Outcome.REFUSED
            return
        call = CallMeMaybeVia(allocation)
        self._out.append(Send(peer.disco, ByDerp(peer.home, peer.key), call))

    def _on_call(
        self, sender: DiscoPublic, allocation: Allocation, node: NodePublic, now: float
    ) -> None:
        peer = self._peers.get(node)
        if peer is None or peer.disco != sender or not self._is_for(allocation, peer):
            return
        since, heeded = self._calls.get(node, (now, 0))
        if now - since > CALL_WINDOW:
            since, heeded = now, 0
        self._calls[node] = since, heeded + 1
        if heeded < CALLS_HEEDED:
            self._take_allocation(peer, allocation, None, now)

    def _is_for(self, allocation: Allocation, peer: RelayNode) -> bool:
        """Say whether an allocation is for us and this peer, and could be one at all."""
        return (
            set(allocation.clients) == {self._disco, peer.disco}
            and allocation.relay not in {self._disco, peer.disco}
            and 1 <= allocation.vni <= LARGEST_VNI
        )

    def _take_allocation(
        self, peer: RelayNode, allocation: Allocation, via: NodePublic | None, now: float
    ) -> bool:
        """Bind our end of it if it is news; say whether it is a place that we keep."""
        known = self._places.get((allocation.relay, allocation.vni))
        if known is not None and known.peer != peer.key:
            if known.was_heard_lately(now):
                return False
            self._drop(known)  # the relay uses its number again
            known = None
        if known is not None and known.allocation.lamport == allocation.lamport:
            known.allocation = allocation  # its addresses may be others now
            if known.is_stale(now):
                self._bind(known, now)
            return True
        for old in self._at_relay(peer.key, allocation.relay):
            if old.allocation.lamport > allocation.lamport and not old.is_stale(now):
                return True  # overtaken by a newer one
            self._drop(old)
        if not self._has_room(peer.key):
            return False
        place = Place(peer.key, peer.disco, allocation, via)
        self._places[place.key] = place
        self._bind(place, now)
        return True

    def _at_relay(self, peer: NodePublic, relay: DiscoPublic) -> list[Place]:
        """Return this peer's places at a relay, which keeps one for a pair: the newest."""
        places = self._places.values()
        return [p for p in places if p.peer == peer and p.allocation.relay == relay]

    def _has_room(self, peer: NodePublic) -> bool:
        """Make room for one more place; places that were never heard of go first."""
        mine = [p for p in self._places.values() if p.peer == peer]
        if len(mine) >= PLACES_PER_PEER:
            oldest = min(mine, key=lambda p: p.heard_at)
            if oldest.state is PlaceState.OPEN:
                return False
            self._drop(oldest)
        return len(self._places) < MOST_PLACES

    # --- bindings ------------------------------------------------------------------

    def _bind(self, place: Place, now: float, *, same: bool = False) -> None:
        self._out += place.bind(self._generation(), now, same=same)
        self._note(place, Outcome.BINDING)
        self._schedule(place)

    def _on_challenge(
        self, sender: DiscoPublic, challenge: BindChallenge, way: ByRelay, now: float
    ) -> None:
        place = self._places.get((sender, way.vni))
        if place is None:
            return
        holder = self._ways.get(way)
        if holder not in {None, place}:
            return  # two relays cannot be at one address: one of them lies
        before = place.path
        if not place.on_challenge(challenge, way.server, now):
            return
        self._ways[way] = place
        self._out += place.answer()
        if place.path is not None:
            self._out.append(Found(place.peer, place.path))
        if before is not None and before.way != way:  # another address of the relay answered first
            self._ways.pop(before.way, None)
            self._out.append(Lost(place.peer, before))
        self._note(place, Outcome.BOUND)
        self._schedule(place)

    def _on_over(self, place: Place) -> None:
        if place.state is PlaceState.BINDING:
            self._note(place, Outcome.UNREACHABLE)
        elif place.state is PlaceState.ANSWERED:
            self._note(place, Outcome.ONE_SIDED)
        else:
            self._note(place, Outcome.EXPIRED)
        self._drop(place)

    def _drop(self, place: Place) -> None:
        self._places.pop(place.key, None)
        if place.path is not None:
            if self._ways.get(place.path.way) is place:
                del self._ways[place.path.way]
            self._out.append(Lost(place.peer, place.path))

    def _note(self, place: Place, outcome: Outcome) -> None:
        self._outcomes[place.peer, place.via] = outcome

    def _generation(self) -> int:
        """Return a number of 4 bytes that is not 0."""
        return next(self._numbers) % 0xFFFFFFFF + 1

    def _is_current(self, item: Place | _Asking) -> bool:
        if isinstance(item, _Asking):
            return self._asking.get((item.relay.key, item.peer.key)) is item
        return self._places.get(item.key) is item

    def _schedule(self, item: Place | _Asking) -> None:
        if item.timer < float("inf"):
            heapq.heappush(self._heap, (item.timer, next(self._order), item))
