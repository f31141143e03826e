"""Our side of the talk with one peer's path discovery: pings, answers and calls that leave."""

from __future__ import annotations

from gatepost.sessions.paths_candidates import Candidate
from gatepost.sessions.paths_numbers import OWN_FRESH, SIZE_VALID, WIRE_SIZES
from gatepost.sessions.paths_outputs import ByDerp, PeerFacts, Refresh, Send, Way
from gatepost.sessions.paths_pings import Pending, Pings
from gatepost.sessions.paths_sizes import padding_for
from gatepost.sessions.paths_surroundings import Surroundings
from gatepost.wire.disco import CallMeMaybe, Message, Ping
from gatepost.wire.disco_fields import TRANSACTION_LENGTH


class Asking:
    """What we asked one peer and have no answer to yet."""

    __slots__ = ("_node", "_pings", "facts")

    def __init__(self, facts: PeerFacts, node: Surroundings) -> None:
        self.facts = facts
        self._node = node
        self._pings = Pings()

    def asked(self, transaction: bytes) -> bool:
        """Say whether a ping of ours has this transaction."""
        return transaction in self._pings

    def answered(self, transaction: bytes, now: float) -> Pending | None:
        """Return the ping that is answered, once and in time."""
        return self._pings.answered(transaction, now)

    def is_new(self, transaction: bytes) -> bool:
        """Say whether the peer's ping has not been here before, by another way."""
        return self._pings.is_new(transaction)

    def forget(self) -> None:
        """Forget all pings: the peer has started again."""
        self._pings.clear()

    def send(self, message: Message, way: Way) -> None:
        """Send a message, if the peer takes part in path discovery."""
        if self.facts.disco is not None:
            self._node.out.append(Send(self.facts.disco, way, message))

    def ping(self, candidate: Candidate, now: float) -> None:
        """Ask whether a candidate works."""
        candidate.pinged = now
        candidate.pings += 1
        candidate.trouble = ""
        self.ping_by(candidate.way, now)

    def ping_if_due(self, candidate: Candidate, now: float, interval: float) -> None:
        """Ping unless that was done within `interval` seconds."""
        if now - candidate.pinged >= interval:
            self.ping(candidate, now)

    def ping_by(self, way: Way, now: float, *, asked_for: bool = False, size: int = 0) -> bytes:
        """Ping by any way; return the transaction."""
        if not size or isinstance(way, ByDerp):
            return self._ping(way, now, asked_for=asked_for)
        padding = padding_for(size, way)
        return self._ping(way, now, asked_for=asked_for, size=size, padding=padding)

    def measure(self, candidate: Candidate, now: float) -> None:
        """Ping with packets of several sizes; `on_pong` of a padded one says that it fits."""
        candidate.sized = now
        candidate.sizes = {s: at for s, at in candidate.sizes.items() if now - at < SIZE_VALID}
        for size in WIRE_SIZES:
            self._ping(candidate.way, now, size=size, padding=padding_for(size, candidate.way))

    def call(self, region: int, now: float) -> bool:
        """Tell the peer our addresses by DERP; say whether that could be done."""
        if not region or self.facts.disco is None:
            return False
        if self._node.own:
            self.send(CallMeMaybe(self._node.own), ByDerp(region, self.facts.key))
        self.refresh(now, OWN_FRESH)
        return bool(self._node.own)

    def refresh(self, now: float, fresh: float) -> None:
        """Ask STUN servers for our addresses if the last answer is older than `fresh` seconds."""
        if now - self._node.own_at > fresh:
            self._node.out.append(Refresh())

    def _ping(
        self, way: Way, now: float, *, asked_for: bool = False, size: int = 0, padding: int = 0
    ) -> bytes:
        transaction = self._node.random_bytes(TRANSACTION_LENGTH)
        self._pings.add(transaction, way, now, asked_for=asked_for, size=size)
        self.send(Ping(transaction, self._node.me, padding), way)
        return transaction
