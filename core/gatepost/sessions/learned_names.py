"""The addresses that peers were given for domains, for as long as they count. Pure.

An address is kept for a time after it was last given. A name has at most `MOST_OF_NAME`, a
domain as many different ones as its wish says, all domains together `MOST`: a route is made
of each, and a server that names thousands must not flood the mesh. Where there is no room,
the answer is cut down to addresses that are known: so whatever a peer is told has a route,
and what has none is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec

from gatepost.errors import Malformed
from gatepost.model.netmap import IPAddress
from gatepost.model.peer_api import LearnNames

MOST_OF_NAME = 64
MOST_NAMES = 1024  # further ones of a domain count as one, whose answers are told as they are
MOST = 800  # the coordination server takes 1024 routes of a node
RESTED = 600.0  # seconds after which an address that was not given may make room for another

Domain = str  # "a.example", or "*.example" for all below


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What came of an answer: the addresses that may be told, and which of them were unknown."""

    given: tuple[IPAddress, ...] = ()
    new: frozenset[IPAddress] = frozenset()


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    domains: tuple[str, ...]
    names: dict[str, dict[str, float]]


@dataclass(slots=True)
class LearnedNames:
    """What is known. Times are seconds since 1970, so that they mean something after a restart."""

    _wishes: Mapping[Domain, LearnNames] = field(default_factory=dict[Domain, LearnNames])
    _names: dict[str, dict[IPAddress, float]] = field(  # by name; until when each is kept
        default_factory=dict[str, dict[IPAddress, float]]
    )

    def want(self, wishes: Iterable[LearnNames]) -> None:
        """Learn these domains from now on; what is known of others is kept for its time."""
        self._wishes = {w.domain: w for w in wishes}

    @property
    def domains(self) -> tuple[Domain, ...]:
        return tuple(self._wishes)

    def known(self, domain: Domain) -> frozenset[IPAddress]:
        """Return the addresses of a domain."""
        return frozenset(a for n in self._below(domain) for a in self._names[n])

    def wish_for(self, chain: Iterable[str]) -> tuple[str, LearnNames] | None:
        """Return the first name of a chain that is to be learned, with the wish behind it."""
        for name in chain:
            if (wish := self._wish(name)) is not None:
                return name, wish
        return None

    def learn(
        self, chain: Iterable[str], addresses: Iterable[IPAddress], ttl: float, now: float
    ) -> Lesson:
        """Take an answer: names from the one asked for to where it led, and the addresses there.

        All addresses are of one version of IP; `ttl` is how long the asker may keep them.
        """
        told = tuple(dict.fromkeys(addresses))
        found = self.wish_for(chain)
        if found is None:
            return Lesson(given=told)
        name, wish = found
        place = name if name in self._names or len(self._names) < MOST_NAMES else wish.domain
        admitted = self._admit(wish, place, told, now)
        held = self._names.get(place, {})
        if place == name:
            admitted = admitted[: max(0, MOST_OF_NAME - len(held))]
        given = tuple(a for a in told if a in held or a in admitted)
        if not given and told and place == name:
            version = told[0].version
            given = tuple(a for a in held if a.version == version)[:MOST_OF_NAME]
        if given:
            until = now + max(wish.keep.total_seconds(), ttl)
            self._names[place] = {**self._names.get(place, {}), **dict.fromkeys(given, until)}
        return Lesson(given=given, new=frozenset(admitted))

    def expire(self, now: float) -> frozenset[Domain]:
        """Forget what nobody was given for long enough; return the domains that lost some."""
        lost = set[Domain]()
        for name, held in tuple(self._names.items()):
            left = {a: until for a, until in held.items() if until > now}
            if len(left) != len(held):
                self._names[name] = left
                lost |= set(self._above(name))
            if not left:
                del self._names[name]
        return frozenset(lost)

    def _admit(
        self, wish: LearnNames, place: str, told: tuple[IPAddress, ...], now: float
    ) -> list[IPAddress]:
        """Return the new ones for which there is room; what another name has costs nothing."""
        held = self._names.get(place, {})
        new = [a for a in told if a not in held]
        if not new:
            return []
        known = self.known(wish.domain)
        costly = [a for a in new if a not in known]
        short = len(costly) - self._room(wish)
        if short > 0:
            self._drop(wish, short, frozenset(told), now)
        refused = frozenset(costly[self._room(wish) :])
        return [a for a in new if a not in refused]

    def _room(self, wish: LearnNames) -> int:
        """Return how many more addresses a domain may have."""
        everywhere = {a for held in self._names.values() for a in held}
        return max(0, min(wish.most - len(self.known(wish.domain)), MOST - len(everywhere)))

    def _drop(self, wish: LearnNames, count: int, kept: frozenset[IPAddress], now: float) -> None:
        """Drop up to so many addresses of a domain that were not given lately."""
        limit = now + wish.keep.total_seconds() - RESTED
        latest = dict[IPAddress, float]()
        for name in self._below(wish.domain):
            for address, until in self._names[name].items():
                latest[address] = max(until, latest.get(address, 0.0))
        rested = sorted((u, int(a), a) for a, u in latest.items() if u <= limit and a not in kept)
        gone = {address for _, _, address in rested[:count]}
        for name in self._below(wish.domain):
            left = {a: u for a, u in self._names[name].items() if a not in gone}
            self._names[name] = left
            if not left:
                del self._names[name]

    def _below(self, domain: Domain) -> list[str]:
        return [n for n in self._names if _covers(domain, n)]

    def _above(self, name: str) -> Iterator[Domain]:
        return (d for d in self._wishes if _covers(d, name))

    def _wish(self, name: str) -> LearnNames | None:
        """Return the wish for the domain that fits a name closest."""
        if (exact := self._wishes.get(name)) is not None:
            return exact
        rest = name.partition(".")[2]
        while rest:
            if (wild := self._wishes.get(f"*.{rest}")) is not None:
                return wild
            rest = rest.partition(".")[2]
        return None

    def dump(self) -> bytes:
        names = {n: {str(a): until for a, until in held.items()} for n, held in self._names.items()}
        return msgspec.json.encode(_Stored(domains=self.domains, names=names))

    def load(self, raw: bytes) -> tuple[Domain, ...]:
        """Take what was dumped, and return the domains of then; raise `Malformed`."""
        try:
            stored = msgspec.json.decode(raw, type=_Stored)
            self._names = {
                n: {ip_address(a): until for a, until in held.items()}
                for n, held in stored.names.items()
            }
        except (msgspec.MsgspecError, ValueError) as error:
            raise Malformed(f"these are no learned names: {error}") from error
        return stored.domains


def _covers(domain: Domain, name: str) -> bool:
    """Say whether a domain means a name; `*.a.example` does not mean `a.example` itself."""
    if domain.startswith("*."):
        return name.endswith(domain[1:]) and len(name) > len(domain) - 1
    return name == domain
