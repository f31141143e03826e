"""Find out how the internet sees this node, and which DERP region is nearest.

One `Check` asks STUN servers and gathers what they answer; `choose_home`
decides. Source: protocol document 2.7. Not here: what to do where UDP is blocked
(latency over HTTPS), and port mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from gatepost.model.netmap import Endpoint
from gatepost.wire.stun import TRANSACTION_LENGTH, read_answer, write_request

STUN_PORT = 3478
TRIES = (0.0, 0.15, 0.4, 1.0)  # seconds after the start at which a silent server is asked
LONGEST = 3.0  # seconds of one check
GRACE = 1.0  # seconds for the other regions after the first answer
MOVE_GAIN = 0.010  # seconds that a new home must be nearer
MOVE_RATIO = 2 / 3  # of the old home's latency that a new one must be under


@dataclass(frozen=True, slots=True)
class Server:
    """A STUN server of a region, at one of its addresses."""

    region: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one check found. `seen_v4` and `seen_v6` are our endpoints as servers saw them.

    `latencies` are seconds by region id, the best of its servers. `varies` None:
    fewer than two servers answered over IPv4, so nobody can say.
    """

    seen_v4: tuple[Endpoint, ...] = ()
    seen_v6: tuple[Endpoint, ...] = ()
    latencies: Mapping[int, float]
    varies: bool | None = None

    @property
    def udp(self) -> bool:
        return bool(self.latencies)

    @property
    def seen(self) -> tuple[Endpoint, ...]:
        """Our endpoints as the internet sees them, IPv4 first."""
        return (*self.seen_v4, *self.seen_v6)


class Check:
    """One round of questions to `servers`, begun at `now`."""

    def __init__(
        self, servers: Iterable[Server], random_bytes: Callable[[int], bytes], now: float
    ) -> None:
        self._silent = dict.fromkeys(servers)
        self._random = random_bytes
        self._started = now
        self._tries = 0
        self._first_answer: float | None = None
        self._asked: dict[bytes, tuple[Server, float]] = {}
        self._answers: dict[Server, tuple[Endpoint, float]] = {}

    def due(self, now: float) -> list[tuple[Endpoint, bytes]]:
        """Return the requests to send now."""
        requests: list[tuple[Endpoint, bytes]] = []
        if self._tries >= len(TRIES) or now < self._started + TRIES[self._tries]:
            return requests
        self._tries += 1
        for server in self._silent:
            transaction = self._random(TRANSACTION_LENGTH)
            self._asked[transaction] = server, now
            requests.append((server.endpoint, write_request(transaction)))
        return requests

    def on_answer(self, packet: bytes, now: float) -> bool:
        """Take a STUN packet; return whether it was an answer to us. Raise `WireError`."""
        transaction, seen = read_answer(packet)
        asked = self._asked.pop(transaction, None)
        if asked is None:
            return False
        server, sent = asked
        if server in self._silent:
            del self._silent[server]
            self._answers[server] = seen, now - sent
        if self._first_answer is None:
            self._first_answer = now
        return True

    def deadline(self, grace: float = GRACE) -> float:
        """When to stop waiting, as far as is known now."""
        longest = self._started + LONGEST
        return longest if self._first_answer is None else min(longest, self._first_answer + grace)

    def next_timer(self, grace: float = GRACE) -> float:
        """When to look again: at the next try or at the end."""
        end = self.deadline(grace)
        if self._tries >= len(TRIES):
            return end
        return min(end, self._started + TRIES[self._tries])

    def is_done(self, now: float, grace: float = GRACE) -> bool:
        return not self._silent or now >= self.deadline(grace)

    def report(self) -> Report:
        """Return what is known so far."""
        latencies: dict[int, float] = {}
        v4: dict[Endpoint, None] = {}
        v6: dict[Endpoint, None] = {}
        asked_v4 = 0
        for server, (seen, latency) in self._answers.items():
            latencies[server.region] = min(latency, latencies.get(server.region, latency))
            is_v4 = isinstance(seen.address, IPv4Address)
            (v4 if is_v4 else v6)[seen] = None
            asked_v4 += is_v4
        varies = len(v4) > 1 if asked_v4 > 1 else None
        return Report(seen_v4=tuple(v4), seen_v6=tuple(v6), latencies=latencies, varies=varies)


def choose_home(home: int, known: Iterable[int], latencies: Mapping[int, float]) -> int:
    """Return the region to be reached at: the old one unless another is clearly nearer.

    `known` are the regions that may be a home, `home` 0 is none yet. Without any
    measurement the old home stays, or the region with the lowest id is taken, so
    that a node behind a firewall that drops UDP can be reached at all. 0: no region.
    """
    regions = sorted(known)
    measured = {r: latencies[r] for r in regions if r in latencies}
    if not measured:
        return home if home in regions else next(iter(regions), 0)
    nearest = min(measured, key=lambda r: measured[r])
    if home not in regions or home not in measured:
        return nearest
    gain = measured[home] - measured[nearest]
    moves = gain > MOVE_GAIN and measured[nearest] < measured[home] * MOVE_RATIO
    return nearest if moves else home
