"""Sign-ins over SSH that wait for somebody to confirm who is there (`check`). In memory only.

A restart forgets who waits and who was confirmed: the machine asks again with an id that
nobody knows, and gets a new one. So nothing needs to be kept, and nobody can fill a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gatepost.coordination.records import NodeRecord
from gatepost.errors import RefusedError
from gatepost.model.keys import NodePublic

LIFETIME = 1800.0  # seconds; the machine gives a sign-in up after that
MOST = 1000  # waiting, and confirmed, at the same time

Verdict = Literal["waiting", "approved", "denied"]


@dataclass(slots=True, eq=False, kw_only=True)
class Check:
    """One sign-in that waits. `created` and `expires` are seconds since 1970."""

    id: str
    source: NodeRecord
    destination: NodeRecord
    login: str
    created: float
    expires: float
    verdict: Verdict = "waiting"
    decided: asyncio.Event = field(default_factory=asyncio.Event)

    def is_between(self, source: NodeRecord, destination: NodeRecord, login: str) -> bool:
        ours = (self.source.id, self.source.key, self.destination.id, self.login)
        return ours == (source.id, source.key, destination.id, login)


_Pair = tuple[int, NodePublic, int]  # of nodes; who logs in anew has another key


class SshChecks:
    """All that wait, and who was confirmed when. What has expired disappears by itself."""

    def __init__(self, clock: Callable[[], float], make_id: Callable[[], str]) -> None:
        self._clock = clock
        self._make_id = make_id
        self._checks: dict[str, Check] = {}
        self._confirmed: dict[_Pair, float] = {}  # in the order of time

    def is_confirmed(self, source: NodeRecord, destination: NodeRecord, period: float) -> bool:
        """Say whether a check of these two succeeded in the last `period` seconds."""
        since = self._confirmed.get((source.id, source.key, destination.id))
        return since is not None and 0 <= self._clock() - since < period

    def open(self, source: NodeRecord, destination: NodeRecord, login: str) -> Check:
        """Return the check that waits for this sign-in, a new one if there is none.

        Raise `RefusedError` if too many wait already.
        """
        for check in self.all():
            if check.is_between(source, destination, login):
                return check
        if len(self._checks) >= MOST:
            raise RefusedError(f"{MOST} sign-ins wait for a check already; try again later")
        now = self._clock()
        check = Check(
            id=self._make_id(),
            source=source,
            destination=destination,
            login=login,
            created=now,
            expires=now + LIFETIME,
        )
        self._checks[check.id] = check
        return check

    def find(self, check_id: str) -> Check | None:
        """Return a check that has not expired, whatever its verdict."""
        self._forget_expired()
        return self._checks.get(check_id)

    def all(self) -> list[Check]:
        """Return the checks that wait, oldest first."""
        self._forget_expired()
        return [check for check in self._checks.values() if check.verdict == "waiting"]

    def decide(self, check: Check, verdict: Literal["approved", "denied"]) -> None:
        """Give the verdict; raise `RefusedError` if there is one already."""
        if check.verdict != "waiting":
            raise RefusedError(f"check {check.id} was {check.verdict} already")
        check.verdict = verdict
        check.decided.set()
        if verdict == "approved":
            pair = check.source.id, check.source.key, check.destination.id
            self._confirmed.pop(pair, None)
            self._confirmed[pair] = self._clock()
            if len(self._confirmed) > MOST:
                del self._confirmed[next(iter(self._confirmed))]

    def _forget_expired(self) -> None:
        now = self._clock()
        for check in [c for c in self._checks.values() if c.expires <= now]:
            del self._checks[check.id]
            check.decided.set()
