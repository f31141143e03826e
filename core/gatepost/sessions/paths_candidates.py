"""The addresses at which one peer may be reached, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_numbers import CANDIDATES
from gatepost.sessions.paths_outputs import ByUdp, Local


@dataclass(slots=True)
class Candidate:
    """One address. Times are of the session's clock, minus infinity is never."""

    endpoint: Endpoint
    from_netmap: bool = False
    pinged: float = float("-inf")
    answered: float = float("-inf")
    latency: float = 0.0  # seconds, 0 before the first answer
    local: Local | None = None  # where the last answer arrived

    @property
    def way(self) -> ByUdp:
        return ByUdp(self.endpoint, self.local)


class Candidates:
    """At most `CANDIDATES` addresses beside those of the netmap, found by address."""

    __slots__ = ("_known",)

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._known = {e: Candidate(e, from_netmap=True) for e in endpoints}

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint in self._known

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def set_netmap(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Mark what the netmap says now; what it said before stays, but may be forgotten."""
        for candidate in self._known.values():
            candidate.from_netmap = False
        for endpoint in endpoints:
            self.add(endpoint).from_netmap = True

    def add(self, endpoint: Endpoint) -> Candidate:
        """Return the candidate, new or known; the one silent for longest makes room."""
        known = self._known.get(endpoint)
        if known is not None:
            return known
        guests = [c for c in self._known.values() if not c.from_netmap]
        if len(guests) >= CANDIDATES:
            oldest = min(guests, key=lambda c: max(c.answered, c.pinged))
            del self._known[oldest.endpoint]
        candidate = self._known[endpoint] = Candidate(endpoint)
        return candidate
