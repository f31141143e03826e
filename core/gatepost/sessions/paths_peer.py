"""How to reach one peer: which of its addresses answers, and for how long that is believed.

            traffic                  pong                     45 s without traffic
    IDLE ------------> SEEKING ----------------> DIRECT ------------------------> RESTING
      ^                  |  ^     no pong for      |                                 |
      |     45 s without |  |       6.5 s          |                                 |
      +------ traffic ---+  +----------------------+                                 |
      +------------------------- no pong for 6.5 s ----------------------------------+

The one rule behind it: WireGuard's endpoint is the peer's address exactly
while that is trusted, and the DERP proxy at all other times. So the first
packet after a silence always passes through the proxy, which is how activity
is noticed without looking at every packet, and peers without traffic cost
nothing. Official nodes send on both ways while they do not trust an address;
the kernel sends a packet once, so here DERP carries it alone.

A trusted address also stays trusted while WireGuard keeps receiving from the
peer and nothing comes by DERP: then the peer's daemon is away (killed, or being
upgraded), not the path.

Source of the numbers: protocol document 2.3. Addresses: 2.4.
"""

from __future__ import annotations

import enum
from ipaddress import IPv6Address, ip_address

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_candidates import Candidate, Candidates
from gatepost.sessions.paths_choice import is_better
from gatepost.sessions.paths_handshake import Handshake
from gatepost.sessions.paths_numbers import (
    CALL_WINDOW,
    CALLS_HEEDED,
    CANDIDATES,
    COUNTED_TRUST,
    COUNTED_WITHIN,
    FIRST_PINGS,
    GOOD_ENOUGH,
    HEARTBEAT,
    HEARTBEAT_RETRY,
    OWN_FRESH,
    PING_INTERVAL,
    SESSION_ACTIVE,
    TRUST,
    UPGRADE,
    WATCHED,
)
from gatepost.sessions.paths_outputs import (
    Answered,
    ByDerp,
    ByUdp,
    Carry,
    Counters,
    Local,
    Moved,
    PeerFacts,
    Refresh,
    Send,
    Way,
)
from gatepost.sessions.paths_pings import Pings
from gatepost.sessions.paths_surroundings import Surroundings
from gatepost.wire.disco import CallMeMaybe, Ping, Pong
from gatepost.wire.disco_fields import TRANSACTION_LENGTH

DERP_ADDRESS = ip_address("127.3.3.40")  # stands for "by DERP" in a pong; the port is the region


class State(enum.Enum):
    IDLE = "no traffic; DERP would carry the first packet"
    SEEKING = "traffic by DERP, looking for a direct path"
    DIRECT = "traffic by a trusted address"
    RESTING = "a trusted address without traffic"


class PeerPath:
    """The path to one peer. Outputs go to the `Surroundings`; times are seconds of one clock."""

    __slots__ = (
        "_best", "_call_window", "_calls", "_candidates", "_counters", "_counters_at",
        "_followed", "_node", "_pings", "_tries", "active_until", "derp_at", "derp_latency",
        "derp_region", "facts", "handshake", "heartbeat_at", "seek_at", "trust_until",
        "upgrade_at", "watched_until",
    )  # fmt: skip

    def __init__(self, facts: PeerFacts, node: Surroundings) -> None:
        never = float("-inf")
        self.facts = facts
        self._node = node
        self._candidates = Candidates(facts.endpoints)
        self._best: Candidate | None = None
        self._followed: Candidate | None = None  # where WireGuard roamed, not answered yet
        self._pings = Pings()
        self._counters: Counters | None = None
        self._counters_at = self._call_window = never
        self._calls = self._tries = 0
        self.handshake = Handshake()
        self.active_until = self.trust_until = self.watched_until = self.derp_at = never
        self.heartbeat_at = self.seek_at = self.upgrade_at = never
        self.derp_region = 0  # the region the peer last wrote from, 0 is unknown
        self.derp_latency: float | None = None

    # --- what it is now ----------------------------------------------------------

    def state(self, now: float) -> State:
        """Return the state as it is at `now`."""
        if self.direct is not None:
            return State.DIRECT if now < self.active_until else State.RESTING
        return State.SEEKING if now < self.active_until else State.IDLE

    @property
    def direct(self) -> ByUdp | None:
        """The trusted address, or None when DERP carries the packets."""
        return self._best.way if self._best else None

    @property
    def latency(self) -> float | None:
        """The round trip of the trusted address in seconds, or None when nobody measured it."""
        return self._best.latency or None if self._best else None

    @property
    def region(self) -> int:
        """The DERP region to write to, 0 if the peer has none."""
        return self.derp_region or self.facts.home

    def is_watched(self, now: float) -> bool:
        """Say whether the peer's counters should be read every few seconds."""
        return now < max(self.active_until, self.watched_until) or self._best is not None

    def is_overdue(self, now: float) -> bool:
        """Say whether the heartbeat of the trusted address got no answer in time."""
        return self._best is not None and now - self._best.answered > HEARTBEAT + HEARTBEAT_RETRY

    def asked(self, transaction: bytes) -> bool:
        """Say whether a ping of ours has this transaction."""
        return transaction in self._pings

    def timer(self) -> float | None:
        """When to call `on_timer`, or None while there is nothing to wait for."""
        times = [self.trust_until] if self._best else []
        wanted = (self.heartbeat_at, self.upgrade_at) if self._best else (self.seek_at,)
        times += [t for t in wanted if t < self.active_until]
        if self.handshake.timer is not None:
            times.append(self.handshake.timer)
        return min(times, default=None)

    # --- what happens ------------------------------------------------------------

    def set_facts(self, facts: PeerFacts, now: float) -> None:
        """Take what the netmap says now. A new disco key alone moves no traffic."""
        if facts == self.facts:
            return
        restarted = facts.disco != self.facts.disco
        self.facts = facts
        self._candidates.set_netmap(facts.endpoints)
        if restarted:
            self._pings.clear()
        if now < self.active_until:
            self._tries = 0
            self._seek(now)

    def adopt(self, endpoint: Endpoint, now: float) -> None:
        """Believe for a moment in the address that WireGuard already uses, and check it."""
        candidate = self._candidates.add(endpoint)
        self._best = candidate
        candidate.answered = now
        self.trust_until = now + TRUST
        self.on_traffic(now)
        self._ping(candidate, now)

    def on_traffic(self, now: float) -> None:
        """Note that WireGuard exchanged packets with the peer."""
        was_active = now < self.active_until
        self.active_until = now + SESSION_ACTIVE
        if was_active:
            return
        if self._best:
            self.heartbeat_at = now
            self.upgrade_at = now + UPGRADE
            return
        self._tries = 0
        self._seek(now)

    def on_ping(self, ping: Ping, way: Way, now: float) -> None:
        """Answer by the same way, once; ping back from where there is no trusted address.

        Two silent nodes do not keep each other awake by that: whoever pings back
        trusts the address as soon as it is answered, and then does not.
        """
        if not self._pings.is_new(ping.transaction):
            return
        self.watched_until = now + WATCHED
        if isinstance(way, ByDerp):
            self._send(Pong(ping.transaction, Endpoint(DERP_ADDRESS, way.region)), way)
            return
        self._send(Pong(ping.transaction, way.endpoint), way)
        known = way.endpoint in self._candidates
        candidate = self._candidates.add(way.endpoint)
        if not known or not self._best:
            self._ping_if_due(candidate, now, PING_INTERVAL if known else 0.0)

    def on_pong(self, pong: Pong, way: Way, now: float) -> None:
        """Take the answer to one of our pings; others are ignored."""
        pending = self._pings.answered(pong.transaction, now)
        if pending is None:
            return
        latency = now - pending.sent
        if pending.asked_for:
            self._node.out.append(Answered(pong.transaction, latency, pending.way))
        match pending.way, way:
            case ByDerp(), ByDerp():
                self.derp_latency = latency
            case ByUdp(endpoint), ByUdp(_, local):
                self._on_working(self._candidates.add(endpoint), local, latency, now)
            case _:  # came back another way: proves neither
                pass

    def on_call(self, call: CallMeMaybe, now: float) -> None:
        """Ping the addresses that the peer sent by DERP: that opens our NAT for its pings."""
        if now - self._call_window > CALL_WINDOW:
            self._call_window, self._calls = now, 0
        self._calls += 1
        self.watched_until = now + WATCHED
        if self._calls > CALLS_HEEDED:
            return
        for endpoint in call.endpoints[:CANDIDATES]:
            if not (isinstance(endpoint.address, IPv6Address) and endpoint.address.is_link_local):
                self._candidates.add(endpoint)
        for candidate in self._candidates:
            if not self._best or now - candidate.answered > UPGRADE:
                self._ping_if_due(candidate, now, FIRST_PINGS[0] / 2)

    def on_derp_packet(self, region: int, packet: bytes, now: float) -> None:
        """Note a WireGuard packet that came by DERP."""
        self.derp_region = region
        self.derp_at = now
        self.handshake.on_inbound(packet)
        self.on_traffic(now)

    def on_derp_gone(self, region: int) -> None:
        """Stop answering through a region that says the peer is not there."""
        if self.derp_region == region:
            self.derp_region = 0

    def on_outbound(self, packet: bytes, now: float) -> None:
        """Take a packet that WireGuard gave to the proxy."""
        self.handshake.on_outbound(packet, now)
        self.on_traffic(now)
        self._carry(packet)

    def on_counters(self, counters: Counters, now: float) -> None:
        """Take one reading of the device: notices traffic, and WireGuard's own roaming."""
        before, gap = self._counters, now - self._counters_at
        self._counters, self._counters_at = counters, now
        last = (before.received, before.sent) if before else (0, 0)
        if (before or self.is_watched(now)) and last != (counters.received, counters.sent):
            self.on_traffic(now)
        if before and counters.received > before.received and gap <= COUNTED_WITHIN:
            self._on_received_directly(counters, now)
        if counters.endpoint != (self._best.endpoint if self._best else None):
            self._on_roamed(counters.endpoint, now)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        if self._best and now >= self.trust_until:
            self._distrust(now)
        if packet := self.handshake.due(now):
            self._carry(packet)
        if now >= self.active_until:
            return
        if not self._best:
            if now >= self.seek_at:
                self._seek(now)
            return
        if now >= self.heartbeat_at:
            self._ping(self._best, now)
            self.heartbeat_at = now + HEARTBEAT_RETRY
        if now >= self.upgrade_at:
            self._look_for_better(now)

    def probe(self, now: float) -> bytes:
        """Ping the peer by the path in use for somebody who waits; return the transaction."""
        self.on_traffic(now)
        way = self.direct or ByDerp(self.region, self.facts.key)
        return self._send_ping(way, now, asked_for=True)

    # --- how it is done ----------------------------------------------------------

    def _seek(self, now: float) -> None:
        """Ping every address, and ask the peer by DERP to do the same towards us."""
        wait = FIRST_PINGS[self._tries] if self._tries < len(FIRST_PINGS) else PING_INTERVAL
        self._tries += 1
        self.seek_at = now + wait
        for candidate in self._candidates:
            if candidate is not self._best:
                self._ping(candidate, now)
        self.call(now)

    def call(self, now: float) -> None:
        """Tell the peer our addresses by DERP, so that it pings them."""
        if not self.region or self.facts.disco is None:
            return
        if self._node.own:
            self._send(CallMeMaybe(self._node.own), ByDerp(self.region, self.facts.key))
        if now - self._node.own_at > OWN_FRESH:
            self._node.out.append(Refresh())

    def _look_for_better(self, now: float) -> None:
        self.upgrade_at = now + UPGRADE
        if self._best and self._best.latency > GOOD_ENOUGH:
            for candidate in self._candidates:
                self._ping_if_due(candidate, now, PING_INTERVAL)

    def _ping_if_due(self, candidate: Candidate, now: float, interval: float) -> None:
        if now - candidate.pinged >= interval:
            self._ping(candidate, now)

    def _ping(self, candidate: Candidate, now: float) -> None:
        candidate.pinged = now
        self._send_ping(ByUdp(candidate.endpoint), now)

    def _send_ping(self, way: Way, now: float, *, asked_for: bool = False) -> bytes:
        transaction = self._node.random_bytes(TRANSACTION_LENGTH)
        self._pings.add(transaction, way, now, asked_for=asked_for)
        self._send(Ping(transaction, self._node.me), way)
        return transaction

    def _send(self, message: Ping | Pong | CallMeMaybe, way: Way) -> None:
        if self.facts.disco is not None:
            self._node.out.append(Send(self.facts.disco, way, message))

    def _carry(self, packet: bytes) -> None:
        if self.direct:
            self._node.out.append(Carry(self.direct, packet))
        elif self.region:
            self._node.out.append(Carry(ByDerp(self.region, self.facts.key), packet))

    def _on_working(
        self, candidate: Candidate, local: Local | None, latency: float, now: float
    ) -> None:
        """Note a pong from an address, and use it if it is the best there is."""
        candidate.answered, candidate.latency, candidate.local = now, latency, local
        best = self._best
        if best is candidate:
            self.trust_until = now + TRUST
            self.heartbeat_at = now + HEARTBEAT
        elif (
            best is None
            or candidate is self._followed
            or is_better(candidate.endpoint, latency, best.endpoint, best.latency or latency)
        ):
            self._use(candidate, now)

    def _use(self, candidate: Candidate, now: float) -> None:
        """Move to an address that answered lately; it is trusted no longer than its pong."""
        self._best = candidate
        self._followed = None
        self._tries = 0
        self.trust_until = candidate.answered + TRUST
        self.heartbeat_at = candidate.answered + HEARTBEAT
        self.upgrade_at = now + UPGRADE
        self._node.out.append(Moved(self.facts.key, candidate.way))
        if packet := self.handshake.waiting():
            self._carry(packet)

    def _on_received_directly(self, counters: Counters, now: float) -> None:
        """Keep believing in the address while the peer's own packets prove it."""
        best = self._best
        if best and counters.endpoint == best.endpoint and now - self.derp_at > COUNTED_TRUST:
            self.trust_until = max(self.trust_until, now + COUNTED_TRUST)

    def _on_roamed(self, endpoint: Endpoint | None, now: float) -> None:
        """Follow WireGuard to the address the peer sends from if it answers, else call it back.

        Two nodes that chose different addresses would otherwise be moved by each
        other's packets for ever.
        """
        if endpoint is not None:
            candidate = self._candidates.add(endpoint)
            if self._best and now - candidate.answered < TRUST:
                self._use(candidate, now)
                return
            self._ping_if_due(candidate, now, HEARTBEAT_RETRY)
            if self._best and self._followed is not candidate:
                self._followed = candidate
                return
        self._followed = None
        self._node.out.append(Moved(self.facts.key, self.direct))

    def _distrust(self, now: float) -> None:
        self._best = None
        self._node.out.append(Moved(self.facts.key, None))
        self._tries = 0
        self.seek_at = now
