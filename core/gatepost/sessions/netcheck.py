"""Find out how the internet sees this node, and which DERP region is nearest.

One `Check` asks STUN servers and gathers what they answer; `sessions.home`
decides what follows. Source: protocol document 2.7. Not here: what to do where
UDP is blocked (`net.netcheck_http`), and port mapping (`sessions.portmap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from types import MappingProxyType

from gatepost.model.netmap import Endpoint
from gatepost.wire.stun import (
    TRANSACTION_LENGTH,
    is_request,
    read_answer,
    read_request,
    write_request,
)

STUN_PORT = 3478
TRIES = (0.0, 0.15, 0.4, 1.0)  # seconds after the start at which a silent region is asked
LONGEST = 3.0  # seconds of one check
GRACE = 1.0  # seconds for the other regions after the first answer
HAIRPIN_LAST = 0.5  # seconds for a packet to ourselves to come back


@dataclass(frozen=True, slots=True)
class Server:
    """A STUN server of a region, at one of its addresses."""

    region: int
    endpoint: Endpoint


NO_LATENCIES: Mapping[int, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one check found. `seen_v4` and `seen_v6` are our endpoints as servers saw them.

    `latencies` are seconds by region id, the best of its servers, also for each
    version of IP; `https` is by HTTPS, where no UDP came through. `varies` None:
    fewer than two servers answered over IPv4, so nobody can say. `hairpin` None:
    nobody looked whether our NAT lets us reach ourselves from outside.
    """

    seen_v4: tuple[Endpoint, ...] = ()
    seen_v6: tuple[Endpoint, ...] = ()
    latencies: Mapping[int, float] = field(default_factory=lambda: NO_LATENCIES)
    latencies_v4: Mapping[int, float] = field(default_factory=lambda: NO_LATENCIES)
    latencies_v6: Mapping[int, float] = field(default_factory=lambda: NO_LATENCIES)
    https: Mapping[int, float] = field(default_factory=lambda: NO_LATENCIES)
    varies: bool | None = None
    hairpin: bool | None = None

    @property
    def udp(self) -> bool:
        return bool(self.latencies)

    @property
    def seen(self) -> tuple[Endpoint, ...]:
        """Our endpoints as the internet sees them, IPv4 first."""
        return (*self.seen_v4, *self.seen_v6)

    @property
    def distances(self) -> Mapping[int, float]:
        """The latencies to choose a home by."""
        return self.latencies or self.https


@dataclass(frozen=True, slots=True)
class _Target:
    """What one answer is enough from: a region by one version of IP, or one server alone."""

    region: int
    version: int
    only: Endpoint | None


@dataclass(slots=True)
class _Hairpin:
    """A question to ourselves by way of the NAT."""

    transaction: bytes
    asked: float
    came: bool = False


class Check:
    """One round of questions to `servers`, begun at `now`.

    The servers of a region are asked in turn until one answers. Of a single region
    every server is asked: two witnesses are needed to say whether the mapping varies.
    """

    def __init__(
        self,
        servers: Iterable[Server],
        random_bytes: Callable[[int], bytes],
        now: float,
        *,
        hairpin: bool = False,
    ) -> None:
        self._silent = _targets(tuple(servers))
        self._random = random_bytes
        self._started = now
        self._tries = 0
        self._first_answer: float | None = None
        self._asked: dict[bytes, tuple[_Target, float]] = {}
        self._answers: dict[_Target, tuple[Endpoint, float]] = {}
        self._wants_hairpin = hairpin
        self._hairpin: _Hairpin | None = None

    def due(self, now: float) -> list[tuple[Endpoint, bytes]]:
        """Return the requests to send now."""
        requests = self._hairpin_request(now)
        if self._tries >= len(TRIES) or now < self._started + TRIES[self._tries]:
            return requests
        for target, servers in self._silent.items():
            transaction = self._random(TRANSACTION_LENGTH)
            self._asked[transaction] = target, now
            server = servers[self._tries % len(servers)]
            requests.append((server.endpoint, write_request(transaction)))
        self._tries += 1
        return requests

    def on_packet(self, packet: bytes, now: float) -> bool:
        """Take a STUN packet; return whether it was an answer to us. Raise `WireError`."""
        if is_request(packet):
            return self._on_request(read_request(packet))
        transaction, seen = read_answer(packet)
        asked = self._asked.pop(transaction, None)
        if asked is None:
            return False
        target, sent = asked
        if self._silent.pop(target, None) is not None:
            self._answers[target] = seen, now - sent
        if self._first_answer is None:
            self._first_answer = now
        return True

    def deadline(self, grace: float = GRACE) -> float:
        """When to stop waiting, as far as is known now."""
        longest = self._started + LONGEST
        return longest if self._first_answer is None else min(longest, self._first_answer + grace)

    def next_timer(self, grace: float = GRACE) -> float:
        """When to look again: at the next try or at the end."""
        if self._may_ask_hairpin:
            return self._started
        if not self._silent:
            return self._hairpin_end
        end = max(self.deadline(grace), self._hairpin_end)
        if self._tries >= len(TRIES):
            return end
        return min(end, self._started + TRIES[self._tries])

    def is_done(self, now: float, grace: float = GRACE) -> bool:
        if self._may_ask_hairpin:
            return False
        return (not self._silent or now >= self.deadline(grace)) and now >= self._hairpin_end

    def report(self) -> Report:
        """Return what is known so far."""
        by_version: dict[int, dict[int, float]] = {4: {}, 6: {}}
        v4: dict[Endpoint, None] = {}
        v6: dict[Endpoint, None] = {}
        witnesses = 0
        for target, (seen, latency) in self._answers.items():
            known = by_version[target.version]
            known[target.region] = min(latency, known.get(target.region, latency))
            is_v4 = isinstance(seen.address, IPv4Address)
            (v4 if is_v4 else v6)[seen] = None
            witnesses += is_v4
        return Report(
            seen_v4=tuple(v4),
            seen_v6=tuple(v6),
            latencies=_least(by_version[4], by_version[6]),
            latencies_v4=by_version[4],
            latencies_v6=by_version[6],
            varies=len(v4) > 1 if witnesses > 1 else None,
            hairpin=self._hairpin.came if self._hairpin else None,
        )

    # --- can we reach ourselves from outside ----------------------------------------------

    @property
    def _may_ask_hairpin(self) -> bool:
        return self._wants_hairpin and self._hairpin is None and self._first_v4 is not None

    @property
    def _first_v4(self) -> Endpoint | None:
        seen = (s for s, _ in self._answers.values() if isinstance(s.address, IPv4Address))
        return next(seen, None)

    @property
    def _hairpin_end(self) -> float:
        """When a packet to ourselves counts as lost; long ago if none is on its way."""
        if self._hairpin is None or self._hairpin.came:
            return self._started
        return self._hairpin.asked + HAIRPIN_LAST

    def _hairpin_request(self, now: float) -> list[tuple[Endpoint, bytes]]:
        outside = self._first_v4
        if outside is None or not self._may_ask_hairpin:
            return []
        self._hairpin = _Hairpin(self._random(TRANSACTION_LENGTH), now)
        return [(outside, write_request(self._hairpin.transaction))]

    def _on_request(self, transaction: bytes) -> bool:
        """Take a question that somebody asks us: only we do that."""
        if self._hairpin is None or transaction != self._hairpin.transaction:
            return False
        self._hairpin.came = True
        return True


def _targets(servers: tuple[Server, ...]) -> dict[_Target, list[Server]]:
    is_alone = len({s.region for s in servers}) == 1
    targets: dict[_Target, list[Server]] = {}
    for server in servers:
        only = server.endpoint if is_alone else None
        target = _Target(server.region, server.endpoint.address.version, only)
        targets.setdefault(target, []).append(server)
    return targets


def _least(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    return {r: min(m[r] for m in (one, other) if r in m) for r in {**one, **other}}
