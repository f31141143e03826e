"""Which way WireGuard uses for one peer: moves, doubts, and what the device itself reports.

Sure, WireGuard sends to the best way; without one, to the proxy, and DERP
carries. In between is doubt: the last heartbeats were not answered, but the
trust in the way has not run out. Then WireGuard sends to the proxy and every
packet leaves by the way and by DERP, as official nodes do it; the receiver's
WireGuard drops the second copy. The search for another way begins at once.
"""

from __future__ import annotations

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_candidates import Candidate, is_place
from gatepost.sessions.paths_choice import beats
from gatepost.sessions.paths_numbers import (
    AWAY,
    COUNTED_TRUST,
    COUNTED_WITHIN,
    DOUBT,
    GIVEN_UP,
    GREETED,
    HEARTBEAT,
    HEARTBEAT_RETRY,
    OWN_DOUBTED,
    SESSION_ACTIVE,
    SIZING,
    SIZINGS,
    TRUST,
    UPGRADE,
)
from gatepost.sessions.paths_outputs import ByDerp, Carry, Counters, Hold, Moved, Narrow
from gatepost.sessions.paths_pings import Pending
from gatepost.sessions.paths_report import Origin, Reason
from gatepost.sessions.paths_standing import Standing

_FOREVER = float("inf")


class Choosing(Standing):
    """The way in use. Outputs go to the `Surroundings`."""

    __slots__ = ()

    def on_traffic(self, now: float) -> None:
        """Note that WireGuard exchanged packets with the peer."""
        was_active = now < self.active_until
        self.active_until = now + SESSION_ACTIVE
        if was_active:
            return
        self._tries = 0
        self.heartbeat_at = self.seek_at = self.sought_since = now
        self.upgrade_at = now + UPGRADE

    def on_counters(self, counters: Counters, now: float) -> None:
        """Take one reading of the device: notices traffic, and WireGuard's own roaming."""
        before, gap = self._counters, now - self._counters_at
        self._counters, self._counters_at = counters, now
        last = (before.received, before.sent) if before else (0, 0)
        if (before or self.is_watched(now)) and last != (counters.received, counters.sent):
            self.on_traffic(now)
        if before and counters.received < before.received:  # the device is a new one
            self.unheard_until = now + GREETED
        if before and counters.received > before.received and gap <= COUNTED_WITHIN:
            self._on_received_directly(counters, now)
        if self.held and now >= self.active_until:
            self._hold(None)
        if counters.endpoint != self.wireguard:
            self._on_roamed(counters.endpoint, now)

    def _carry(self, packet: bytes, now: float) -> None:
        """Send a packet that WireGuard gave to the proxy; in doubt by both ways."""
        way = self._best or (self._last if self._is_derp_doubtful(now) else None)
        if way:
            self._node.out.append(Carry(way.way, packet))
        if self.region and (self.in_doubt or not self._best):
            self._node.out.append(Carry(ByDerp(self.region, self.facts.key), packet))

    def _is_derp_doubtful(self, now: float) -> bool:
        """Say whether the peer may hear nothing by DERP, its daemon being away.

        One that was heard after it had time to answer by the way that was given up is there, and
        that way leads nowhere: also where only we send, and its WireGuard says no more than
        that it is alive, every 10 seconds.
        """
        heard = max(self.derp_at, self._log.ping_heard, self._log.call_heard)
        return heard - self.sought_since <= GIVEN_UP and now - self.derp_at > COUNTED_TRUST

    def _move(self) -> None:
        """Say where WireGuard shall send now."""
        self._node.out.append(Moved(self.facts.key, self.path))

    def _beat(self, best: Candidate, now: float) -> None:
        """Ping the way in use; the first ping without an answer starts the doubt's clock."""
        self._asking.ping(best, now)
        self.heartbeat_at = now + HEARTBEAT_RETRY
        if self.doubt_at == _FOREVER:
            self.doubt_at = now + DOUBT + 3 * best.latency

    def _doubt(self, now: float) -> None:
        """Stop relying on the way, and look for another one."""
        if now - self.counted_at < COUNTED_TRUST:
            self.doubt_at = now + DOUBT
            return
        self.doubt_at = _FOREVER
        self.in_doubt = True
        self._tries = 0
        self.seek_at = now
        self._asking.refresh(now, OWN_DOUBTED)  # it may be our own address that has changed
        self._move()

    def _hold(self, endpoint: Endpoint | None) -> None:
        """Let packets from an address come to us; None lets WireGuard have them all."""
        if endpoint != self.held:
            self.held = endpoint
            self._node.out.append(Hold(self.facts.key, endpoint))

    def _be_sure(self) -> None:
        self.doubt_at = _FOREVER
        self._hold(None)
        if self.in_doubt:
            self.in_doubt = False
            self._move()

    def _on_answered(
        self, candidate: Candidate, pending: Pending, latency: float, now: float
    ) -> None:
        """Note a pong of a way, and use it if it is the best there is."""
        candidate.answered = now
        candidate.answers += 1
        if pending.size:  # a long packet's time on the wire is not the path's latency
            candidate.sizes[pending.size] = now
            if candidate is self._best and candidate.is_narrow:
                self._judge_size(now)
            return
        candidate.latency = latency
        best = self._best
        if best is candidate:
            self.trust_until = now + TRUST
            self.heartbeat_at = now + HEARTBEAT
            self._be_sure()
        elif best is None or self.in_doubt:
            self._use(candidate, Reason.ANSWERED, now)
        elif candidate is self._followed:
            self._use(candidate, Reason.FOLLOWED, now)
        elif beats(candidate, best):
            self._use(candidate, Reason.BETTER, now)

    def _use(self, candidate: Candidate, reason: Reason, now: float) -> None:
        """Move to a way that answered lately; it is trusted no longer than its pong."""
        before = self._best.way if self._best else None
        self._log.changed(before, candidate.way, reason, now)
        self._best = candidate
        self._followed = self._last = None
        self._hold(None)
        self.in_doubt = False
        self.doubt_at = _FOREVER
        self._tries = 0 if candidate.relay is None else self._tries
        self.trust_until = candidate.answered + TRUST
        self.heartbeat_at = candidate.answered + HEARTBEAT
        self.upgrade_at = now + UPGRADE
        self._move()
        if packet := self.handshake.waiting():
            self._carry(packet, now)
        self._tell_size()
        if now - candidate.sized > UPGRADE:
            self._measure(candidate, now)
        else:  # its answers may have come while another way was in use
            self.size_at = min(self.size_at, now + SIZING)

    def _measure(self, best: Candidate, now: float) -> None:
        """Try how long packets may be on the way in use."""
        self._asking.measure(best, now)
        self.size_at = now + SIZING + 3 * best.latency

    def _judge_size(self, now: float) -> None:
        """Look which of the sizes came through; if none did, try again.

        Right after a start even short pings are lost: our packets get WireGuard's port by rules
        that are not loaded yet.
        """
        self.size_at = _FOREVER
        best = self._best
        if best and best.relay is None:
            best.judge_size()
            if 0 < best.unsized < SIZINGS:
                self._measure(best, now)
        self._tell_size()

    def _tell_size(self) -> None:
        """Say whether the address in use is narrow, if that is not known yet."""
        best = self._best
        narrow = best.endpoint if best and best.relay is None and best.is_narrow else None
        if narrow != self.narrow:
            self.narrow = narrow
            self._node.out.append(Narrow(self.facts.key, narrow))

    def _believe(self, candidate: Candidate, now: float) -> None:
        """Use a way that no pong proves, for as long as the peer's WireGuard is heard by it."""
        self._use(candidate, Reason.HEARD, now)
        self.counted_at = now
        self.trust_until = now + COUNTED_TRUST

    def _on_received_directly(self, counters: Counters, now: float) -> None:
        """Keep believing in the path while the peer's own packets prove it."""
        best = self._best
        if best and counters.endpoint == best.wireguard and self._is_daemon_away(now):
            self.counted_at = now
            self.trust_until = max(self.trust_until, now + COUNTED_TRUST)

    def _is_daemon_away(self, now: float) -> bool:
        """Say whether the peer has only its WireGuard left: nothing else was heard of it lately.

        Then unanswered pings say nothing of the path. A peer that pings us and does not answer
        hears nothing of us.
        """
        return now - self._log.ping_heard > AWAY and now - self.derp_at > COUNTED_TRUST

    def _on_straight(self, endpoint: Endpoint, now: float) -> None:
        """Note a packet of the peer's WireGuard that came by the way in use, in doubt or not."""
        if self._is_daemon_away(now):
            self.counted_at = now
            self.trust_until = max(self.trust_until, now + COUNTED_TRUST)
            self._be_sure()
        elif self.in_doubt:
            self._hold(endpoint)

    def on_held(self, endpoint: Endpoint, packet: bytes, now: float) -> None:
        """Take a WireGuard packet that was kept from WireGuard."""
        self.handshake.on_inbound(packet)
        self.on_traffic(now)
        if self._best and self._best.wireguard == endpoint:
            self._on_straight(endpoint, now)
        elif self._last and self._last.wireguard == endpoint and self._is_daemon_away(now):
            self._believe(self._last, now)

    def _on_roamed(self, endpoint: Endpoint | None, now: float) -> None:
        """Follow WireGuard to the address the peer sends from if it answers, else call it back.

        Two nodes that chose different addresses would otherwise be moved by each
        other's packets for ever.
        """
        if endpoint is not None and (not is_place(endpoint) or self._relays.by_wireguard(endpoint)):
            relayed = self._relays.by_wireguard(endpoint)
            candidate = relayed or self._candidates.add(endpoint, Origin.WIREGUARD)
            if self._is_content() and relayed:  # its packets should have come as if directly
                self._move()
                return
            if self.in_doubt and candidate is self._best:
                self._on_straight(endpoint, now)
                self._move()
                return
            if self._best and now - candidate.answered < TRUST:
                self._use(candidate, Reason.FOLLOWED, now)
                return
            if candidate is self._last and self._is_daemon_away(now):
                self._believe(candidate, now)
                return
            if self._best is None and candidate is not self._last:
                self._last, self.sought_since = candidate, now
            self._asking.ping_if_due(candidate, now, HEARTBEAT_RETRY)
            if self.path is None and not relayed:
                self._hold(endpoint)
            if self._best and not self.in_doubt and self._followed is not candidate:
                self._followed = candidate
                return
        self._followed = None
        self._move()

    def _distrust(self, reason: Reason, now: float) -> None:
        before = self._best.way if self._best else None
        self._log.changed(before, None, reason, now)
        if self.relay:
            self._log.relays_sought = float("-inf")
        self._best, self._last = None, self._best
        was_moved, self.in_doubt, self.doubt_at = self.in_doubt, False, _FOREVER
        if not was_moved:
            self._move()
        self._tell_size()
        self._tries = 0
        self.seek_at = self.sought_since = now
