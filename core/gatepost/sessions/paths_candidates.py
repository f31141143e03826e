"""The ways that may lead to one peer, and what is known of each: addresses and relay places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import RELAY_NETWORK, RELAY_NETWORK_V6, RELAY_PORT
from gatepost.sessions.paths_numbers import CANDIDATES, RELAYS
from gatepost.sessions.paths_outputs import ByRelay, ByUdp, Local, RelayPath
from gatepost.sessions.paths_report import Origin, Try, age
from gatepost.sessions.paths_sizes import whole_packet

_NEVER = float("-inf")


@dataclass(slots=True, eq=False)
class Candidate:
    """One way. Times are of the session's clock, minus infinity is never.

    `endpoint` is the peer's address, or the relay's when `relay` is set.
    """

    endpoint: Endpoint
    origin: Origin
    relay: RelayPath | None = None
    pings: int = 0
    answers: int = 0
    pinged: float = _NEVER
    answered: float = _NEVER
    latency: float = 0.0  # seconds, 0 before the first answer
    local: Local | None = None  # where the last answer arrived
    sizes: dict[int, float] = field(default_factory=dict[int, float])  # octets: when it came back
    sized: float = _NEVER  # when the sizes were last tried
    is_narrow: bool = False  # whether it loses whole packets of the tunnel
    unsized: int = 0  # times in a row that packets of no size came back
    trouble: str = ""

    @property
    def way(self) -> ByUdp | ByRelay:
        return self.relay.way if self.relay else ByUdp(self.endpoint, self.local)

    @property
    def path(self) -> ByUdp | RelayPath:
        return self.relay or ByUdp(self.endpoint, self.local)

    @property
    def wireguard(self) -> Endpoint | None:
        """Where WireGuard sends when this is used; None is the proxy."""
        return self.relay.endpoint if self.relay else self.endpoint

    @property
    def mtu(self) -> int:
        """The largest packet in octets, headers included, that came back; 0 is not measured."""
        return max(self.sizes, default=0)

    def judge_size(self) -> None:
        """Decide by the last sizes that were tried; without an answer to any it stays as it was."""
        answers = [size for size, at in self.sizes.items() if at >= self.sized]
        self.unsized = 0 if answers else self.unsized + 1
        if answers:
            self.is_narrow = max(answers) < whole_packet(self.endpoint.address.version)

    def report(self, now: float) -> Try:
        """Say what is known of it."""
        return Try(
            way=self.way,
            origin=self.origin,
            pings=self.pings,
            answers=self.answers,
            pinged=age(self.pinged, now),
            answered=age(self.answered, now),
            latency=self.latency or None,
            mtu=self.mtu,
            trouble=self.trouble,
        )


class Candidates:
    """At most `CANDIDATES` addresses beside those of the netmap, found by address."""

    __slots__ = ("_known",)

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._known = {e: Candidate(e, Origin.NETMAP) for e in endpoints if is_possible(e)}

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint in self._known

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, endpoint: Endpoint) -> Candidate | None:
        """Return a known candidate."""
        return self._known.get(endpoint)

    def set_netmap(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Mark what the netmap says now; what it said before stays, but may be forgotten."""
        for candidate in self._known.values():
            if candidate.origin is Origin.NETMAP:
                candidate.origin = Origin.CALL
        for endpoint in filter(is_possible, endpoints):
            self.add(endpoint, Origin.NETMAP).origin = Origin.NETMAP

    def add(self, endpoint: Endpoint, origin: Origin) -> Candidate:
        """Return the candidate, new or known; the one silent for longest makes room."""
        known = self._known.get(endpoint)
        if known is not None:
            return known
        guests = [c for c in self._known.values() if c.origin is not Origin.NETMAP]
        if len(guests) >= CANDIDATES:
            oldest = min(guests, key=lambda c: max(c.answered, c.pinged))
            del self._known[oldest.endpoint]
        candidate = self._known[endpoint] = Candidate(endpoint, origin)
        return candidate


class Relays:
    """At most `RELAYS` places, one for each relay."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[DiscoPublic, Candidate] = {}

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def put(self, path: RelayPath, keep: Candidate | None = None) -> Candidate:
        """Return the candidate of a path; it replaces another one at the same relay.

        The one silent for longest makes room for another relay, unless it is to be kept.
        """
        before = self._known.get(path.relay)
        if before is not None and before.way == path.way and before.wireguard == path.endpoint:
            before.relay = path  # bound again
            return before
        if before is None and len(self._known) >= RELAYS:
            spare = [(k, c) for k, c in self._known.items() if c is not keep]
            oldest, _ = min(spare, key=lambda k: max(k[1].answered, k[1].pinged))
            del self._known[oldest]
        candidate = self._known[path.relay] = Candidate(path.server, Origin.RELAY, path)
        return candidate

    def remove(self, path: RelayPath) -> None:
        """Forget a path, unless another one replaced it."""
        known = self._known.get(path.relay)
        if known is not None and known.way == path.way:
            del self._known[path.relay]

    def by_way(self, way: ByRelay) -> Candidate | None:
        """Return the place that has this server and VNI."""
        return next((c for c in self._known.values() if c.way == way), None)

    def by_wireguard(self, endpoint: Endpoint) -> Candidate | None:
        """Return the place that WireGuard knows as `endpoint`."""
        return next((c for c in self._known.values() if c.wireguard == endpoint), None)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()


def is_possible(endpoint: Endpoint) -> bool:
    """Say whether a peer may be at this address.

    Nobody is at an address of every machine, of a group, of none or of this machine itself; a
    peer that tells us one would make us write to our own services. A link-local
    address says nothing without its interface.
    """
    address = endpoint.address
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        return False
    if address.version == 6:  # noqa: PLR2004  # the version of IP
        return not address.is_link_local
    return str(address) != "255.255.255.255"


def is_place(endpoint: Endpoint) -> bool:
    """Say whether an endpoint of WireGuard stands for a place at a relay."""
    is_v6 = endpoint.address.version == 6  # noqa: PLR2004  # the version of IP
    network = RELAY_NETWORK_V6 if is_v6 else RELAY_NETWORK
    return endpoint.port == RELAY_PORT and endpoint.address in network
