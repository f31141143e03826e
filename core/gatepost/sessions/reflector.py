"""Which datagrams of a LAN go to other sites, and which of theirs come in. No I/O.

Everything that passes, either way, is remembered for a second and does not pass again: so
sites with two boxes do not send the same thing round for ever. Hosts that repeat a question
wait longer than that (RFC 6762 section 5.2).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from gatepost.errors import Malformed
from gatepost.model.netmap import IPAddress
from gatepost.sessions.token_bucket import TokenBucket
from gatepost.wire.reflected import Kind, Reflected, check_datagram, read_reflected

REMEMBERED = 0.9  # seconds; the shortest repetition of mDNS is a second
MOST_REMEMBERED = 4096
RATE, BURST = 100.0, 200.0  # datagrams a second, in each direction
MOST_SEARCHES = 256  # at the same time
SEARCH_TIME = 10.0  # seconds; a device may wait five before it answers

Place = tuple[str, tuple[str, int]]  # device; address and port of the host


@dataclass(slots=True)
class Reflector:
    """One box. `allowed` are addresses in the mesh of peers that were granted it here."""

    allowed: frozenset[IPAddress]
    now: float
    _seen: OrderedDict[bytes, float] = field(default_factory=OrderedDict[bytes, float])
    _searches: OrderedDict[int, tuple[float, Place]] = field(
        default_factory=OrderedDict[int, tuple[float, Place]]
    )
    _out: TokenBucket = field(init=False)
    _in: TokenBucket = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self._out = TokenBucket(rate=RATE, burst=BURST, now=self.now)
        self._in = TokenBucket(rate=RATE, burst=BURST, now=self.now)

    def from_lan(self, kind: Kind, datagram: bytes, place: Place, now: float) -> Reflected | None:
        """Return what to tell the other sites; None for nothing. Raise `Malformed`."""
        check_datagram(kind, datagram)
        if self._is_known(kind, datagram, now) or not self._out.take(now):
            return None
        if kind is not Kind.SSDP_SEARCH:
            return Reflected(kind, datagram)
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._searches[self._number] = (now, place)
        while len(self._searches) > MOST_SEARCHES:
            self._searches.popitem(last=False)
        return Reflected(kind, datagram, self._number)

    def from_mesh(self, sender: IPAddress, raw: bytes, now: float) -> Reflected | None:
        """Return what to repeat in the LAN; None for nothing. Raise `WireError`.

        Who was not granted it is not heard.
        """
        if sender not in self.allowed:
            raise Malformed(f"{sender} was not granted to be heard here")
        found = read_reflected(raw)
        if found.kind is Kind.SSDP_ANSWER:
            return found if self._in.take(now) else None
        if self._is_known(found.kind, found.datagram, now) or not self._in.take(now):
            return None
        return found

    def searcher(self, number: int, now: float) -> Place | None:
        """Return who searched with this number, while answers may still come."""
        began, place = self._searches.get(number, (0.0, None))
        return place if place is not None and now - began <= SEARCH_TIME else None

    def _is_known(self, kind: Kind, datagram: bytes, now: float) -> bool:
        mark = hashlib.blake2b(bytes([kind]) + datagram, digest_size=16).digest()
        while self._seen and now - next(iter(self._seen.values())) > REMEMBERED:
            self._seen.popitem(last=False)
        if mark in self._seen:
            return True
        self._seen[mark] = now
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return False
