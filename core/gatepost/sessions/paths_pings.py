"""The pings of one peer that are on their way: ours without an answer, and its that had one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gatepost.sessions.paths_numbers import PING_TIMEOUT, REMEMBERED_PINGS
from gatepost.sessions.paths_outputs import Way


@dataclass(frozen=True, slots=True)
class Pending:
    """A ping of ours.

    `asked_for`: somebody waits for the answer. `size`: octets of the whole packet, 0 if not padded.
    """

    way: Way
    sent: float
    asked_for: bool
    size: int


class Pings:
    """Transactions are 12 bytes, ours random. Times are of the session's clock."""

    __slots__ = ("_pending", "_seen")

    def __init__(self) -> None:
        self._pending: dict[bytes, Pending] = {}
        self._seen: deque[bytes] = deque(maxlen=REMEMBERED_PINGS)

    def __contains__(self, transaction: bytes) -> bool:
        return transaction in self._pending

    def add(
        self, transaction: bytes, way: Way, now: float, *, asked_for: bool = False, size: int = 0
    ) -> None:
        """Note a ping that we send; those that nobody answered in time are forgotten."""
        for old in [t for t, p in self._pending.items() if now - p.sent > PING_TIMEOUT]:
            del self._pending[old]
        self._pending[transaction] = Pending(way, now, asked_for, size)

    def answered(self, transaction: bytes, now: float) -> Pending | None:
        """Return the ping that is answered, once and in time."""
        pending = self._pending.pop(transaction, None)
        return pending if pending and now - pending.sent <= PING_TIMEOUT else None

    def is_new(self, transaction: bytes) -> bool:
        """Say whether the peer's ping has not been here before, by another way."""
        if transaction in self._seen:
            return False
        self._seen.append(transaction)
        return True

    def clear(self) -> None:
        """Forget everything: the peer has started again."""
        self._pending.clear()
        self._seen.clear()
