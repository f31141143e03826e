"""A peer relay as its clients see it: places for pairs, and who has bound which end. No sockets.

    client A --allocate (by DERP)--> relay: a place has a VNI and two ends
    client A --bind--> relay --challenge--> A --answer--> relay: A's end is where A proved to be
    client B the same; from then on what comes from one end goes to the other, unread

A challenge is a MAC over what the client said and where it said it from, so a flood of
binds from forged addresses leaves nothing behind, and nothing longer than a bind is
sent to anybody. What moves packets belongs to `net.relay_server` and the kernel;
this session tells it the flows. Sources: protocol document 4; RFC 8926.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from gatepost.errors import Malformed, Unauthentic, WireError
from gatepost.model.keys import DiscoPrivate, DiscoPublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.token_bucket import TokenBucket
from gatepost.wire.box import NONCE_LENGTH, SharedKeys
from gatepost.wire.disco import AnyMessage, open_packet, read_packet, seal_packet
from gatepost.wire.disco_relay import (
    AllocateRequest,
    AllocateResponse,
    Allocation,
    BindAnswer,
    BindChallenge,
    Binding,
    BindRelay,
)
from gatepost.wire.geneve import DISCO, LARGEST_VNI, Geneve, read_geneve, write_geneve

BIND_LIFETIME = 30.0  # seconds until both ends must be bound
STEADY_LIFETIME = 300.0  # seconds since the last packet of the quieter end
SECRET_LIFETIME = 120.0  # seconds; challenges of the secret before are good as long again
MOST_PLACES = 32_768  # two flows each, as many as the kernel's table has room for
MOST_UNBOUND = 1024  # places of one client that wait for a binding
CHALLENGE_RATE, CHALLENGE_BURST = 16.0, 64.0  # a second and at once, per end
REMEMBERED = 16  # handshakes of an end that cannot be played again
_SECRET_LENGTH = 32  # bytes
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets from one end as they reach us: its address, our address, the place."""

    source: Endpoint
    here: IPAddress
    vni: int


@dataclass(frozen=True, slots=True)
class Onward:
    """Where those packets go: to the other end, from the address that it knows us by."""

    to: Endpoint
    here: IPAddress


@dataclass(slots=True)
class End:
    """One client's end. `source` None: not bound yet. Counters are since it was bound."""

    client: DiscoPublic
    bucket: TokenBucket
    source: Endpoint | None = None
    here: Local | None = None
    generation: int = 0  # of the handshake in progress; 0 is none
    finished: dict[int, float] = field(default_factory=dict[int, float])
    seen: float = 0.0
    packets: int = 0
    octets: int = 0


@dataclass(slots=True, kw_only=True)
class Place:
    """A pair's place; `owner` is the client that asked for it."""

    vni: int
    lamport: int
    owner: DiscoPublic
    allocated: float
    ends: tuple[End, End]

    @property
    def is_bound(self) -> bool:
        return all(end.source is not None for end in self.ends)

    def flows(self) -> dict[Flow, Onward]:
        """Return both directions; nothing before both ends are bound."""
        found = dict[Flow, Onward]()
        for one, other in (self.ends, self.ends[::-1]):
            if one.source and one.here and other.source and other.here:
                flow = Flow(one.source, one.here.address, self.vni)
                found[flow] = Onward(other.source, other.here.address)
        return found

    def end_at(self, source: Endpoint) -> End | None:
        return next((end for end in self.ends if end.source == source), None)

    def is_over(self, now: float) -> bool:
        if not self.is_bound:
            return now - self.allocated > BIND_LIFETIME
        return any(now - end.seen > STEADY_LIFETIME for end in self.ends)


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this to where the client's packet came from, from the address it came to."""

    packet: bytes


class RelayServer:
    """All places of one relay. Its key is new with every start, and tells clients of that."""

    def __init__(self, disco: DiscoPrivate, random_bytes: Callable[[int], bytes]) -> None:
        self.key = disco.public
        self.addresses: tuple[Endpoint, ...] = ()  # at which clients may reach us
        self._random = random_bytes
        self._keys = SharedKeys(disco, limit=4096)
        self._places: dict[int, Place] = {}
        self._by_pair: dict[frozenset[DiscoPublic], Place] = {}
        self._reserved: frozenset[int] = frozenset()
        self._unbound: dict[DiscoPublic, int] = {}
        self._lamport = 0
        self._secrets: tuple[bytes, ...] = ()
        self._rotated = 0.0

    def __len__(self) -> int:
        return len(self._places)

    def places(self) -> Iterator[Place]:
        """All places, to be read only."""
        return iter(self._places.values())

    def place(self, vni: int) -> Place | None:
        return self._places.get(vni)

    def reserve(self, vnis: Iterable[int]) -> None:
        """Give these to nobody: an earlier run's flows still have them."""
        self._reserved = frozenset(vnis)

    def allocate(
        self, sender: DiscoPublic, request: AllocateRequest, now: float
    ) -> AllocateResponse | None:
        """Return the pair's place, the one it has or a new one.

        The caller has made sure that `sender` may use this relay. None is no answer:
        no address of ours is known yet, the request is not the sender's own, or there
        are too many places.
        """
        pair = frozenset(request.clients)
        if not self.addresses or sender not in pair or self.key in pair or len(pair) != 2:  # noqa: PLR2004  # a pair
            return None
        place = self._by_pair.get(pair) or self._make(sender, pair, now)
        if place is None:
            return None
        one, other = (end.client for end in place.ends)
        allocation = Allocation(
            relay=self.key,
            clients=(one, other),
            lamport=place.lamport,
            vni=place.vni,
            bind_lifetime=int(BIND_LIFETIME * _NANOSECONDS),
            steady_lifetime=int(STEADY_LIFETIME * _NANOSECONDS),
            addresses=self.addresses,
        )
        return AllocateResponse(request.generation, allocation)

    def on_control(
        self, packet: bytes, source: Endpoint, here: Local, now: float
    ) -> Reply | Place | None:
        """Take a packet with the control bit, Geneve header included.

        Return what to answer, or the place whose flows are new now. What is not a
        handshake of the place's own clients is dropped silently.
        """
        try:
            place, end, other, message = self._open(packet)
        except WireError:
            return None
        if not isinstance(message, BindRelay | BindAnswer):
            return None
        if message.vni != place.vni or message.remote != other.client:
            return None
        if isinstance(message, BindRelay):
            return self._challenge(place, end, message, source, now)
        return self._bind(place, end, message, source, here, now)

    def on_traffic(self, vni: int, source: Endpoint, packets: int, octets: int, now: float) -> None:
        """Note that so much more was forwarded from an end."""
        place = self._places.get(vni)
        end = place.end_at(source) if place else None
        if end is not None and packets > 0:
            end.packets += packets
            end.octets += octets
            end.seen = now

    def expire(self, now: float) -> tuple[Place, ...]:
        """Close the places that are over and return them; to be called every few seconds."""
        over = tuple(place for place in self._places.values() if place.is_over(now))
        for place in over:
            del self._places[place.vni]
            del self._by_pair[frozenset(end.client for end in place.ends)]
            if not place.is_bound:
                self._settled(place)
        return over

    # --- places -----------------------------------------------------------------------

    def _make(self, owner: DiscoPublic, pair: frozenset[DiscoPublic], now: float) -> Place | None:
        if len(self._places) >= MOST_PLACES or self._unbound.get(owner, 0) >= MOST_UNBOUND:
            return None
        self._lamport += 1
        one, other = sorted(pair)
        place = Place(
            vni=self._free_vni(),
            lamport=self._lamport,
            owner=owner,
            allocated=now,
            ends=(_make_end(one, now), _make_end(other, now)),
        )
        self._places[place.vni] = self._by_pair[pair] = place
        self._unbound[owner] = self._unbound.get(owner, 0) + 1
        return place

    def _free_vni(self) -> int:
        """Return one at random: it is a part of what a forger would have to guess."""
        while True:
            vni = int.from_bytes(self._random(3), "big")
            if 0 < vni <= LARGEST_VNI and vni not in self._places and vni not in self._reserved:
                return vni

    def _settled(self, place: Place) -> None:
        left = self._unbound.get(place.owner, 0) - 1
        if left > 0:
            self._unbound[place.owner] = left
        else:
            self._unbound.pop(place.owner, None)

    # --- handshakes -------------------------------------------------------------------

    def _open(self, packet: bytes) -> tuple[Place, End, End, AnyMessage]:
        """Return the place, the sender's end, the other end and the message; raise `WireError`."""
        header, inner = read_geneve(packet)
        place = self._places.get(header.vni)
        if place is None or header.protocol != DISCO or not header.is_control:
            raise Malformed(f"no handshake of a place of ours: VNI {header.vni}")
        closed = read_packet(inner)
        end, other = _ends(place, closed.sender)  # before the box is opened, which costs
        return place, end, other, open_packet(closed, self._keys)

    def _challenge(
        self, place: Place, end: End, bind: BindRelay, source: Endpoint, now: float
    ) -> Reply | None:
        if bind.generation == 0 or end.finished.get(bind.generation, 0.0) > now:
            return None
        if not end.bucket.take(now):
            return None
        end.generation = bind.generation
        challenge = BindChallenge(
            vni=place.vni,
            generation=bind.generation,
            remote=bind.remote,
            challenge=_mac(self._current_secrets(now)[0], bind, source),
        )
        nonce = self._random(NONCE_LENGTH)
        sealed = seal_packet(challenge, self.key, end.client, self._keys, nonce)
        return Reply(write_geneve(Geneve(place.vni, DISCO, is_control=True), sealed))

    def _bind(
        self, place: Place, end: End, answer: BindAnswer, source: Endpoint, here: Local, now: float
    ) -> Place | None:
        if answer.generation == 0 or answer.generation != end.generation:
            return None
        if all(_mac(s, answer, source) != answer.challenge for s in self._current_secrets(now)):
            return None
        was_bound = place.is_bound
        end.source, end.here, end.seen = source, here, now
        end.generation = 0
        _remember(end.finished, answer.generation, now)
        if place.is_bound and not was_bound:
            self._settled(place)
            for each in place.ends:
                each.seen = now
        return place

    def _current_secrets(self, now: float) -> tuple[bytes, ...]:
        """Return the newest secret and the one before, neither older than twice its lifetime."""
        if not self._secrets or now - self._rotated >= SECRET_LIFETIME:
            kept = self._secrets[:1] if now - self._rotated < 2 * SECRET_LIFETIME else ()
            self._secrets = (self._random(_SECRET_LENGTH), *kept)
            self._rotated = now
        return self._secrets


def _make_end(client: DiscoPublic, now: float) -> End:
    return End(client, TokenBucket(rate=CHALLENGE_RATE, burst=CHALLENGE_BURST, now=now), seen=now)


def _ends(place: Place, sender: DiscoPublic) -> tuple[End, End]:
    """Return the sender's end and the other one; raise `Unauthentic` when neither is."""
    one, other = place.ends
    if sender == one.client:
        return one, other
    if sender == other.client:
        return other, one
    raise Unauthentic(f"{sender.short} has no end of place {place.vni}")


def _mac(secret: bytes, binding: Binding, source: Endpoint) -> bytes:
    """Return 32 bytes that only we can make, for this handshake from this address."""
    said = binding.vni.to_bytes(4, "big") + binding.generation.to_bytes(4, "big")
    where = source.address.packed + source.port.to_bytes(2, "big")
    return hashlib.blake2s(said + binding.remote.raw + where, key=secret).digest()


def _remember(finished: dict[int, float], generation: int, now: float) -> None:
    """Keep a handshake from being played again for as long as its challenge would be good."""
    finished[generation] = now + 2 * SECRET_LIFETIME
    for old in [g for g, until in finished.items() if until <= now]:
        del finished[old]
    while len(finished) > REMEMBERED:
        del finished[next(iter(finished))]
