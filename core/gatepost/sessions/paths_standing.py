"""How things stand with one peer's path: the state of `sessions.paths_peer`, to be read."""

from __future__ import annotations

import enum
from typing import Literal

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_asking import Asking
from gatepost.sessions.paths_candidates import Candidate, Candidates, Relays
from gatepost.sessions.paths_handshake import Handshake
from gatepost.sessions.paths_numbers import (
    CALL_WINDOW,
    CALLS_HEEDED,
    GREETED,
    GREETED_AFTER,
    HEARTBEAT,
    HEARTBEAT_RETRY,
    PING_BACKS,
    PONGS,
    UPGRADE,
)
from gatepost.sessions.paths_outputs import (
    ByDerp,
    ByRelay,
    ByUdp,
    Counters,
    PeerFacts,
    RelayPath,
    Way,
)
from gatepost.sessions.paths_report import PathLog, PathReport, age
from gatepost.sessions.paths_surroundings import Surroundings
from gatepost.sessions.paths_windows import Window


class State(enum.Enum):
    IDLE = "no traffic; DERP would carry the first packet"
    SEEKING = "traffic by DERP, looking for a direct path"
    RELAYED = "traffic by a peer relay, looking for a direct path"
    DIRECT = "traffic by a trusted address"
    RESTING = "a trusted address or relay without traffic"


class Standing:
    """How things stand with one peer. Times are seconds of the session's clock."""

    __slots__ = (
        "_asking",
        "_best",
        "_calls",
        "_candidates",
        "_counters",
        "_counters_at",
        "_followed",
        "_last",
        "_log",
        "_node",
        "_ping_backs",
        "_pongs",
        "_relays",
        "_tries",
        "active_until",
        "counted_at",
        "derp_at",
        "derp_latency",
        "derp_region",
        "doubt_at",
        "handshake",
        "heartbeat_at",
        "held",
        "in_doubt",
        "narrow",
        "relay_ping_at",
        "seek_at",
        "size_at",
        "sought_since",
        "trust_until",
        "unheard_until",
        "upgrade_at",
        "watched_until",
    )  # fmt: skip

    def __init__(self, facts: PeerFacts, node: Surroundings) -> None:
        never = float("-inf")
        self._node = node
        self._asking = Asking(facts, node)
        self._log = PathLog()
        self._candidates = Candidates(facts.endpoints)
        self._relays = Relays()
        self._best: Candidate | None = None
        self._followed: Candidate | None = None  # where WireGuard roamed, not answered yet
        self._last: Candidate | None = None  # what was used before DERP, if it may still work
        self._counters: Counters | None = None
        self._counters_at = never
        self._calls = Window(CALLS_HEEDED, CALL_WINDOW)
        self._ping_backs = Window(PING_BACKS, CALL_WINDOW)
        self._pongs = Window(PONGS, CALL_WINDOW)
        self._tries = 0
        self.handshake = Handshake()
        self.active_until = self.trust_until = self.watched_until = self.derp_at = never
        self.unheard_until = never
        self.heartbeat_at = self.seek_at = self.upgrade_at = never
        self.relay_ping_at = self.doubt_at = self.size_at = float("inf")
        self.sought_since = never  # when there was last a reason to look for another way
        self.counted_at = never  # when WireGuard was last seen receiving by the path in use
        self.in_doubt = False
        self.held: Endpoint | None = None  # from where packets come to us, not to WireGuard
        self.narrow: Endpoint | None = None  # the address in use, if it loses whole packets
        self.derp_region = 0  # the region the peer last wrote from, 0 is unknown
        self.derp_latency: float | None = None

    # --- what it is now ----------------------------------------------------------

    @property
    def facts(self) -> PeerFacts:
        return self._asking.facts

    def state(self, now: float) -> State:
        """Return the state as it is at `now`."""
        active = now < self.active_until
        if self._best is None:
            return State.SEEKING if active else State.IDLE
        if not active:
            return State.RESTING
        return State.RELAYED if self._best.relay else State.DIRECT

    @property
    def direct(self) -> ByUdp | None:
        """The trusted address, or None when a relay or DERP carries the packets."""
        way = self._best.way if self._best else None
        return way if isinstance(way, ByUdp) else None

    @property
    def relay(self) -> RelayPath | None:
        """The trusted relay path, or None when it is not a relay that carries the packets."""
        return self._best.relay if self._best else None

    @property
    def path(self) -> ByUdp | RelayPath | None:
        """What WireGuard sends by; None is the proxy: without a trusted path, or in doubt of it."""
        return self._best.path if self._best and not self.in_doubt else None

    @property
    def wireguard(self) -> Endpoint | None:
        """Where WireGuard shall send; None is the proxy."""
        return self._best.wireguard if self._best and not self.in_doubt else None

    @property
    def latency(self) -> float | None:
        """The round trip of the trusted path in seconds, or None when nobody measured it."""
        return self._best.latency or None if self._best else None

    @property
    def region(self) -> int:
        """The DERP region to write to, 0 if the peer has none."""
        return self.derp_region or self.facts.home

    def is_watched(self, now: float) -> bool:
        """Say whether the peer's counters should be read every few seconds."""
        return now < max(self.active_until, self.watched_until) or self._best is not None

    def is_unheard(self, now: float) -> bool:
        """Say whether the peer wants something of us, and our WireGuard has heard nothing of it.

        One that lost its sessions, as its machine or device is new, cannot read what peers send
        in theirs, and says so to nobody: they would begin anew after 15 seconds only.
        """
        since = self.unheard_until - GREETED
        is_heard = self._counters is not None and self._counters.received > 0
        return since + GREETED_AFTER <= now < self.unheard_until and not is_heard

    def is_overdue(self, now: float) -> bool:
        """Say whether the counters are wanted every second.

        So they are while a heartbeat got no answer in time, after a way was left a moment
        ago, as WireGuard may follow packets that still come by it, and while it hears nothing.
        """
        if self.is_unheard(now):
            return True
        if self._best is None or self.in_doubt:
            is_new = now - self._log.since < UPGRADE or self.in_doubt
            return is_new and not self.held and now < self.active_until
        return now - self._best.answered > HEARTBEAT + HEARTBEAT_RETRY

    def asked(self, transaction: bytes) -> bool:
        """Say whether a ping of ours has this transaction."""
        return self._asking.asked(transaction)

    def timer(self) -> float | None:
        """When to call `on_timer`, or None while there is nothing to wait for."""
        times = [self.trust_until] if self._best else []
        wanted = [self.relay_ping_at]
        if self._best:
            wanted += [self.heartbeat_at, self.doubt_at, self.size_at]
        if self._is_content():
            wanted.append(self.upgrade_at)
        else:
            wanted.append(self.seek_at)
        times += [t for t in wanted if t < self.active_until]
        if self.handshake.timer is not None:
            times.append(self.handshake.timer)
        return min(times, default=None)

    def report(self, now: float) -> PathReport:
        """Say how the peer is reached and why."""
        best, log = self._best, self._log
        by_derp = ByDerp(self.region, self.facts.key) if self.region else None
        way: Way | None = best.way if best else by_derp
        carried: Literal["derp", "none"] = "derp" if by_derp else "none"
        return PathReport(
            peer=self.facts.key,
            path=("relay" if best.relay else "direct") if best else carried,
            way=way,
            has_disco=self.facts.disco is not None,
            is_active=now < self.active_until,
            latency=self.latency if best else self.derp_latency,
            derp_latency=self.derp_latency,
            mtu=best.mtu if best else 0,
            sized=age(best.sized, now) if best else None,
            since=age(log.since, now),
            silent=age(best.answered, now) if best else None,
            told=self._node.own,
            calls_sent=log.calls_sent,
            call_sent=age(log.call_sent, now),
            calls_heard=log.calls_heard,
            call_heard=age(log.call_heard, now),
            heard_pings=log.heard_pings,
            ping_heard=age(log.ping_heard, now),
            derp_heard=age(self.derp_at, now),
            relays_sought=age(log.relays_sought, now),
            tries=tuple(c.report(now) for c in (*self._candidates, *self._relays)),
            changes=log.changes(now),
        )

    def _is_content(self) -> bool:
        """Say whether the search has ended: with a direct path that is not in doubt."""
        return self._best is not None and self._best.relay is None and not self.in_doubt

    def candidate(self, way: Way) -> Candidate | None:
        """Return what is known of a way; nothing is of DERP."""
        match way:
            case ByUdp(endpoint, _):
                return self._candidates.get(endpoint)
            case ByRelay():
                return self._relays.by_way(way)
            case ByDerp():
                return None
