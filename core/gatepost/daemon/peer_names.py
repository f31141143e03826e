"""Answers peers that ask for names here, and turns what they are told into routes.

An answer about a domain that is to be learned is held back until its addresses are routes
of this node: the coordination server knows them, and so do peers, and the packet filter
lets them through. Then the asker's first packet already goes the right way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

import dns.rcode

from gatepost.errors import Malformed
from gatepost.model.mesh import Advertise
from gatepost.model.netmap import IPAddress, IPNetwork, NetMap, Node
from gatepost.model.observed import Watch
from gatepost.model.peer_api import AnswerPeers, LearnNames
from gatepost.model.process import WatchNames
from gatepost.model.resource import Level, Notice, Resource
from gatepost.sessions.answered_names import (
    AnsweredNames,
    asked_name,
    read_answered,
    without_addresses,
)
from gatepost.sessions.dns_messages import failure, read_query, write_reply
from gatepost.sessions.learned_names import LearnedNames
from gatepost.sessions.unroutable import relay_addresses, why_not

log = logging.getLogger(__name__)

LONGEST_HOLD = 1.0  # seconds that an answer waits for its routes
HEAD_START = 0.05  # seconds that peers have for putting a route into their kernels
LARGEST = 65535  # bytes of an answer
MOST_WITHHELD = 20  # names that are remembered because nothing of their answer could be told

Ask = Callable[[bytes], Awaitable[bytes | None]]  # a DNS query, and its answer if it has one


@dataclass(slots=True, kw_only=True)
class PeerNames:
    """Answers peers; `ask` is this box's resolver.

    `ask_apps` is the same for names that are learned: here is decided what may be told of them.
    `publish` takes observations, `announce` has the coordination server told, `save` keeps what is
    known over a restart. `attached` are the networks that this machine is attached to, `now`
    is seconds since 1970.
    """

    ask: Ask
    ask_apps: Ask
    publish: Callable[[Watch[frozenset[IPAddress]], frozenset[IPAddress]], None]
    announce: Callable[[], None]
    attached: Callable[[], tuple[IPNetwork, ...]]
    now: Callable[[], float]
    save: Callable[[bytes], None]
    longest_hold: float = LONGEST_HOLD
    head_start: float = HEAD_START
    learned: LearnedNames = field(default_factory=LearnedNames)
    _suffixes: frozenset[str] = frozenset()
    _advertised: frozenset[IPNetwork] = frozenset()
    _allowed: frozenset[IPNetwork] = frozenset()
    _netmap: NetMap | None = None
    _is_renewed: bool = False  # known addresses were given again, which is not saved yet
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _withheld: dict[str, str] = field(default_factory=dict[str, str])
    _crowded: dict[str, None] = field(default_factory=dict[str, None])

    # --- what others tell it ------------------------------------------------------------
    def replace(self, resources: Iterable[Resource]) -> None:
        """Answer and learn what is wanted now; the routes among `resources` are in force."""
        all_of_them = tuple(resources)
        self._suffixes = frozenset(r.suffix for r in all_of_them if isinstance(r, AnswerPeers))
        self._advertised = frozenset(r.prefix for r in all_of_them if isinstance(r, Advertise))
        before = frozenset(self.learned.domains)
        self.learned.want(r for r in all_of_them if isinstance(r, LearnNames))
        for domain in frozenset(self.learned.domains) - before:
            if self.learned.known(domain):  # nobody watched it meanwhile
                self._publish(domain)
        self._wake()

    def set_netmap(self, netmap: NetMap | None) -> None:
        self._netmap = netmap
        self._allowed = frozenset(netmap.me.allowed) if netmap else frozenset()
        self._wake()

    def load(self, raw: bytes) -> None:
        """Go on with what was saved before a restart; raise `Malformed`."""
        for domain in self.learned.load(raw):
            self._publish(domain)

    def expire(self) -> None:
        """Forget what is over; to be called now and then."""
        lost = self.learned.expire(self.now())
        for domain in lost:
            self._publish(domain)
        if lost or self._is_renewed:
            self._is_renewed = False
            self.save(self.learned.dump())

    @property
    def is_wanted(self) -> bool:
        return bool(self._suffixes)

    def notices(self) -> Iterator[Notice]:
        for name, reason in self._withheld.items():
            yield Notice("app-answer-withheld", f"{name}: {reason}")
        for domain in self._crowded:
            yield Notice(
                "app-domain-crowded",
                f"{domain} has more addresses than may become routes: who asks is told only some",
                Level.INFO,
            )

    # --- what peers ask -------------------------------------------------------------------
    async def answer(self, query: bytes, peer: Node) -> bytes:
        """Answer a DNS query of a peer; raise `Malformed` for what is none."""
        name = asked_name(query)
        if not any(_is_under(name, suffix) for suffix in self._suffixes):
            return _refused(query)
        is_app = self.learned.wish_for((name,)) is not None
        answer = await (self.ask_apps if is_app else self.ask)(query)
        if answer is None:
            raise Malformed("this is no DNS query that has an answer")
        found = read_answered(answer)
        if found is None:
            return without_addresses(answer) if is_app else answer
        if (learning := self.learned.wish_for(found.chain)) is None:
            return answer
        return await self._learn(answer, found, learning[1], peer)

    async def _learn(
        self, answer: bytes, found: AnsweredNames, wish: LearnNames, peer: Node
    ) -> bytes:
        usable = tuple(a for a in found.addresses if not self._reason(a, wish, found.chain[0]))
        lesson = self.learned.learn(found.chain, usable, found.ttl, self.now())
        if len(lesson.given) < len(usable):
            self._crowded.setdefault(wish.domain)
        if not lesson.given:
            return found.refusal()
        self._is_renewed = True
        if lesson.new:
            log.info(
                "%s was told of %d new addresses of %s", peer.name, len(lesson.new), wish.domain
            )
            self._publish_all()
            self.announce()
            self.save(self.learned.dump())
            await self._hold(lesson.new)
        if lesson.given == found.addresses:
            return answer
        return found.with_addresses(lesson.given, LARGEST)

    def _reason(self, address: IPAddress, wish: LearnNames, name: str) -> str:
        """Say why an address is not told, and have the operator told."""
        netmap = self._netmap
        reason = why_not(address, self.attached(), private=wish.private)
        if not reason and netmap is not None and address in relay_addresses(netmap.derp):
            reason = "a relay's, by which the mesh itself is carried"
        if reason and len(self._withheld) < MOST_WITHHELD:
            self._withheld[name] = f"its address {address} is {reason}, so nobody is told of it"
        return reason

    def _publish_all(self) -> None:
        """Publish every domain: for a new address of one, another may have lost some."""
        for domain in self.learned.domains:
            self._publish(domain)

    def _publish(self, domain: str) -> None:
        self.publish(WatchNames(domain), self.learned.known(domain))

    async def _hold(self, addresses: frozenset[IPAddress]) -> None:
        """Wait until all are routes, here and at peers.

        Not for long: without an approval they never are. Peers hear of an approval when we do,
        and need about as long to tell their kernels.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self.longest_hold):
                while not self._are_routes(addresses):
                    self._moved.clear()
                    await self._moved.wait()
                await asyncio.sleep(self.head_start)

    def _are_routes(self, addresses: frozenset[IPAddress]) -> bool:
        return all(_is_in(a, self._allowed) and _is_in(a, self._advertised) for a in addresses)

    def _wake(self) -> None:
        self._moved.set()


def _is_in(address: IPAddress, networks: frozenset[IPNetwork]) -> bool:
    """Say whether an address is in one of the networks, a default route left out."""
    return ip_network(address) in networks or any(
        n.version == address.version and 0 < n.prefixlen < n.max_prefixlen and address in n
        for n in networks
    )


def _is_under(name: str, suffix: str) -> bool:
    return not suffix or name == suffix or name.endswith(f".{suffix}")


def _refused(query: bytes) -> bytes:
    found = read_query(query)
    return (
        found
        if isinstance(found, bytes)
        else write_reply(failure(found, dns.rcode.REFUSED), LARGEST)
    )
