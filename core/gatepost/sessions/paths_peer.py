"""How to reach one peer: which of its addresses and relays answers, and how long it is believed.

            traffic                  pong                     45 s without traffic
    IDLE ------------> SEEKING ----------------> DIRECT ------------------------> RESTING
      ^                | | ^ ^   no pong for     ^   |                                 |
      |   45 s without | | | |      6.5 s        |   |                                 |
      +------ traffic -+ | | +-------------------|---+                                 |
      |                  | | no pong for 6.5 s   | pong of an address                  |
      |   pong by relay  | +---------- RELAYED --+                                     |
      |                  +---------------> |  ------------------------------------> RESTING
      +------------------------- no pong for 6.5 s ----------------------------------+

The one rule behind it: WireGuard's endpoint is the peer's address, or that
which stands for a relay, exactly while that is trusted, and the DERP proxy at
all other times (`sessions.paths_choosing`). So the first packet after a silence
always passes through the proxy, which is how activity is noticed without
looking at every packet, and peers without traffic cost nothing.

While a relay is used the search for a direct path goes on as if there were
none; a direct address that answers always wins.

A trusted way also stays trusted while WireGuard keeps receiving from the
peer and nothing comes by DERP: then the peer's daemon is away (killed, or being
upgraded), not the path. And DERP carries no packet alone while nothing comes by
it: a copy leaves by the way that was used last, which is all that a peer without
its daemon hears. That ends when the daemon is heard, though the way does not answer.

Source of the numbers: protocol document 2.3. Choice: 2.4. Relays: 4.
"""

from __future__ import annotations

from ipaddress import ip_address

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_candidates import is_possible
from gatepost.sessions.paths_choosing import Choosing
from gatepost.sessions.paths_numbers import (
    CANDIDATES,
    FIRST_PINGS,
    GOOD_ENOUGH,
    GREETED,
    PING_INTERVAL,
    RELAY_AFTER,
    RELAY_PING_INTERVALS,
    RELAY_PINGS,
    SEEK_RELAY,
    SEEK_RELAY_AGAIN,
    TRUST,
    UPGRADE,
    WATCHED,
)
from gatepost.sessions.paths_outputs import (
    Answered,
    ByDerp,
    ByRelay,
    ByUdp,
    PeerFacts,
    RelayPath,
    SeekRelay,
    Way,
)
from gatepost.sessions.paths_report import Origin, Reason
from gatepost.sessions.paths_standing import State
from gatepost.wire.disco import CallMeMaybe, Ping, Pong

__all__ = ["DERP_ADDRESS", "PeerPath", "State"]

DERP_ADDRESS = ip_address("127.3.3.40")  # stands for "by DERP" in a pong; the port is the region


class PeerPath(Choosing):
    """The path to one peer. Outputs go to the `Surroundings`; times are seconds of one clock."""

    __slots__ = ()

    # --- what happens ------------------------------------------------------------

    def set_facts(self, facts: PeerFacts, now: float) -> None:
        """Take what the netmap says now. A new disco key alone moves no traffic."""
        if facts == self.facts:
            return
        restarted = facts.disco != self.facts.disco
        self._asking.facts = facts
        self._candidates.set_netmap(facts.endpoints)
        if restarted:
            self._asking.forget()
            self._forget_relays(now)
        if now < self.active_until:
            self._tries = 0
            self._seek(now)

    def adopt(self, endpoint: Endpoint, now: float) -> None:
        """Believe for a moment in the address that WireGuard already uses, and check it."""
        candidate = self._candidates.add(endpoint, Origin.WIREGUARD)
        self._log.changed(None, candidate.way, Reason.ADOPTED, now)
        self._best = candidate
        candidate.answered = now
        self.trust_until = now + TRUST
        self.on_traffic(now)
        self._asking.ping(candidate, now)
        self._measure(candidate, now)

    def on_traffic(self, now: float) -> None:
        """Note that WireGuard exchanged packets with the peer."""
        was_active = now < self.active_until
        super().on_traffic(now)
        if not was_active and not self._best:
            self._seek(now)

    def on_ping(self, ping: Ping, way: Way, now: float) -> None:
        """Answer by the same way, once; ping back from where there is no trusted address.

        Two silent nodes do not keep each other awake by that: whoever pings back
        trusts the address as soon as it is answered, and then does not.
        """
        if not self._asking.is_new(ping.transaction) or not self._pongs.admits(now):
            return
        self._watch(now)
        if isinstance(way, ByDerp):
            self._asking.send(Pong(ping.transaction, Endpoint(DERP_ADDRESS, way.region)), way)
            return
        self._log.heard_pings += 1
        self._log.ping_heard = now
        seen = way.server if isinstance(way, ByRelay) else way.endpoint
        self._asking.send(Pong(ping.transaction, seen), way)
        self._ping_back(way, now)

    def on_pong(self, pong: Pong, way: Way, now: float) -> None:
        """Take the answer to one of our pings; others are ignored."""
        pending = self._asking.answered(pong.transaction, now)
        if pending is None:
            return
        latency = now - pending.sent
        if pending.asked_for:
            self._node.out.append(Answered(pong.transaction, latency, pending.way))
        match pending.way, way:
            case ByDerp(), ByDerp():
                self.derp_latency = latency
            case ByUdp(endpoint), ByUdp(_, local):
                candidate = self._candidates.add(endpoint, Origin.PING)
                candidate.local = local
                self._on_answered(candidate, pending, latency, now)
            case ByRelay(), ByRelay():
                relayed = self._relays.by_way(pending.way)
                if relayed and pending.way == way:
                    self._on_answered(relayed, pending, latency, now)
            case _:  # came back another way: proves neither
                pass

    def on_call(self, call: CallMeMaybe, now: float) -> None:
        """Ping the addresses that the peer sent by DERP: that opens our NAT for its pings."""
        self._log.calls_heard += 1
        self._log.call_heard = now
        self._watch(now)
        if not self._calls.admits(now):
            return
        for endpoint in filter(is_possible, call.endpoints[:CANDIDATES]):
            self._candidates.add(endpoint, Origin.CALL)
        for candidate in self._candidates:
            if not self._is_content() or now - candidate.answered > UPGRADE:
                self._asking.ping_if_due(candidate, now, FIRST_PINGS[0] / 2)

    def on_relay_found(self, path: RelayPath, now: float) -> None:
        """Try a relay path; the peer may need a moment to bind its end."""
        candidate = self._relays.put(path, keep=self._best)
        if candidate.pings < RELAY_PINGS:
            self._asking.ping(candidate, now)
        self.relay_ping_at = now + RELAY_PING_INTERVALS[0]

    def on_relay_lost(self, path: RelayPath, now: float) -> None:
        """Use a relay path no longer."""
        self._relays.remove(path)
        if self._best and self._best.way == path.way:  # also one that another has replaced
            self._distrust(Reason.RELAY_LOST, now)
        if self._last and self._last.way == path.way:
            self._last = None

    def on_derp_packet(self, region: int, packet: bytes, now: float) -> None:
        """Note a WireGuard packet that came by DERP."""
        self.derp_region = region
        self.derp_at = now
        self.on_packet(packet, now)

    def on_packet(self, packet: bytes, now: float) -> None:
        """Note a WireGuard packet that came through our hands."""
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
        self._carry(packet, now)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        if self._best and now >= self.trust_until:
            self._distrust(Reason.SILENT, now)
        if packet := self.handshake.due(now):
            self._carry(packet, now)
        if now >= self.active_until:
            self._rest()
            return
        if now >= self.relay_ping_at:
            self._ping_relays(now)
        self._look_after(now)
        if not self._is_content():
            if now >= self.seek_at:
                self._seek(now)
        elif now >= self.upgrade_at:
            self._look_for_better(now)

    def _look_after(self, now: float) -> None:
        """Do what is due for the way in use."""
        if self._best and now >= self.heartbeat_at:
            self._beat(self._best, now)
        if now >= self.doubt_at:
            self._doubt(now)
        if now >= self.size_at:
            self._judge_size(now)

    def probe(self, now: float, size: int = 0) -> bytes:
        """Ping the peer by the path in use for somebody who waits; return the transaction."""
        self.on_traffic(now)
        way = self._best.way if self._best else ByDerp(self.region, self.facts.key)
        return self._asking.ping_by(way, now, asked_for=True, size=size)

    # --- how it is done ----------------------------------------------------------

    def _watch(self, now: float) -> None:
        """Look whether a peer that wrote to us sends packets, too; greet it if none come."""
        if now >= self.watched_until:
            self.unheard_until = now + GREETED
        self.watched_until = now + WATCHED

    def _rest(self) -> None:
        """Let nothing be due that was due while there was traffic, or it would be due for ever."""
        self.heartbeat_at = self.seek_at = self.upgrade_at = float("inf")
        self.relay_ping_at = self.doubt_at = self.size_at = float("inf")

    def _seek(self, now: float) -> None:
        """Ping every address, and ask the peer by DERP to do the same towards us."""
        wait = FIRST_PINGS[self._tries] if self._tries < len(FIRST_PINGS) else PING_INTERVAL
        self.seek_at = now + wait
        relays = (c for c in self._relays if c.answers or c.pings < RELAY_PINGS)
        for candidate in (*self._candidates, *relays):
            if candidate is not self._best:
                self._asking.ping(candidate, now)
        self.call(now)
        if self._tries >= RELAY_AFTER:
            self._seek_relay(now)
        self._tries += 1

    def _seek_relay(self, now: float) -> None:
        interval = SEEK_RELAY_AGAIN if self.relay else SEEK_RELAY
        if self.facts.disco is not None and now - self._log.relays_sought >= interval:
            self._log.relays_sought = now
            self._node.out.append(SeekRelay(self.facts.key, self.facts.disco))

    def call(self, now: float) -> None:
        """Tell the peer our addresses by DERP, so that it pings them."""
        if self._asking.call(self.region, now):
            self._log.calls_sent += 1
            self._log.call_sent = now

    def _look_for_better(self, now: float) -> None:
        self.upgrade_at = now + UPGRADE
        if self._best:
            self._measure(self._best, now)
        if self._best and self._best.latency > GOOD_ENOUGH:
            for candidate in self._candidates:
                self._asking.ping_if_due(candidate, now, PING_INTERVAL)

    def _ping_back(self, way: ByUdp | ByRelay, now: float) -> None:
        if isinstance(way, ByRelay):
            relayed = self._relays.by_way(way)
            if relayed and not self._best and self._ping_backs.admits(now):
                self._asking.ping_if_due(relayed, now, RELAY_PING_INTERVALS[0])
            return
        known = self._candidates.get(way.endpoint)
        if known and self._is_content():
            return
        if known:
            self._asking.ping_if_due(known, now, PING_INTERVAL)
        elif self._ping_backs.admits(now):
            self._asking.ping(self._candidates.add(way.endpoint, Origin.PING), now)

    def _ping_relays(self, now: float) -> None:
        """Ping the relay paths that the peer has not answered on yet."""
        waiting = [c for c in self._relays if not c.answers and c.pings < RELAY_PINGS]
        for candidate in waiting:
            self._asking.ping_if_due(candidate, now, RELAY_PING_INTERVALS[0])
        step = min((c.pings for c in waiting), default=0)
        wait = RELAY_PING_INTERVALS[min(step, len(RELAY_PING_INTERVALS) - 1)]
        self.relay_ping_at = now + wait if waiting else float("inf")

    def _forget_relays(self, now: float) -> None:
        """Drop the relay paths: their places were made for the peer's former key."""
        self._relays.clear()
        if self.relay:
            self._distrust(Reason.FORGOTTEN, now)
        if self._last and self._last.relay:
            self._last = None
