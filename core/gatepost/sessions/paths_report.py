"""What a path session tells people about one peer: what was tried, when, and what answered.

Everything is plain values, so that a report can be kept, sent, and put into
words elsewhere. Times are seconds before the report was made; None is never.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import Literal

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_outputs import ByRelay, ByUdp, Way

REMEMBERED_CHANGES = 16

PathName = Literal["direct", "relay", "derp", "none"]


class Origin(enum.Enum):
    """Who told us of an address."""

    NETMAP = "the coordination server"
    CALL = "the peer, by DERP"
    PING = "a ping that came from there"
    WIREGUARD = "WireGuard, which heard the peer from there"
    RELAY = "a peer relay"


class Reason(enum.Enum):
    """Why a path changed."""

    ANSWERED = "a ping was answered"
    BETTER = "a better address answered"
    FOLLOWED = "WireGuard heard the peer from there, and it answers pings"
    ADOPTED = "it was in use when we started"
    HEARD = "WireGuard heard the peer from there, and nothing else is heard of the peer"
    SILENT = "no ping was answered for 6.5 seconds"
    RELAY_LOST = "the relay's place expired"
    FORGOTTEN = "the peer started again with another discovery key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One address or relay place. `latency` is seconds, None before the first answer.

    `mtu` is the largest whole packet in octets that came back, 0 when none was
    measured. `trouble` is what our own machine said to the last ping, "" if it went out.
    """

    way: ByUdp | ByRelay
    origin: Origin
    pings: int
    answers: int
    pinged: float | None
    answered: float | None
    latency: float | None
    mtu: int
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The path was `before` and became `after`; None stands for DERP."""

    ago: float
    before: ByUdp | ByRelay | None
    after: ByUdp | ByRelay | None
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PathReport:
    """How one peer is reached and why.

    `way` None is no way at all: no traffic and no home region. `silent` is
    the time since the last pong of the path in use. `calls` are requests to
    ping each other, sent by DERP; `heard_pings` counts the peer's pings, by UDP or relay.
    `told` is what the last call said about us. `sized` is when the `mtu` of the path
    in use was last looked for; a moment later 0 says that no size came back.
    """

    peer: NodePublic
    path: PathName
    way: Way | None
    has_disco: bool
    is_active: bool
    latency: float | None
    derp_latency: float | None
    mtu: int
    sized: float | None
    since: float | None
    silent: float | None
    told: tuple[Endpoint, ...]
    calls_sent: int
    call_sent: float | None
    calls_heard: int
    call_heard: float | None
    heard_pings: int
    ping_heard: float | None
    derp_heard: float | None
    relays_sought: float | None
    tries: tuple[Try, ...]
    changes: tuple[Change, ...]


class PathLog:
    """What happened to one peer, counted and bounded. Times are of the session's clock."""

    __slots__ = (
        "_changes", "call_heard", "call_sent", "calls_heard", "calls_sent", "heard_pings",
        "ping_heard", "relays_sought", "since",
    )  # fmt: skip

    def __init__(self) -> None:
        self._changes: deque[tuple[float, Change]] = deque(maxlen=REMEMBERED_CHANGES)
        self.calls_sent = self.calls_heard = self.heard_pings = 0
        self.call_sent = self.call_heard = self.ping_heard = float("-inf")
        self.relays_sought = self.since = float("-inf")

    def changed(
        self,
        before: ByUdp | ByRelay | None,
        after: ByUdp | ByRelay | None,
        reason: Reason,
        now: float,
    ) -> None:
        """Note a change of path."""
        self.since = now
        self._changes.append((now, Change(ago=0.0, before=before, after=after, reason=reason)))

    def changes(self, now: float) -> tuple[Change, ...]:
        """Return the changes, the oldest first."""
        return tuple(
            Change(ago=now - at, before=c.before, after=c.after, reason=c.reason)
            for at, c in self._changes
        )


def age(at: float, now: float) -> float | None:
    """Return how long ago `at` was, None for a time that never was."""
    return None if at == float("-inf") else now - at
