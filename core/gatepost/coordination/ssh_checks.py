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
MOST = 1000  # known at the same time, decided or not; and pairs that were confirmed
# Waiting at the same time. Who is signed in to says who signs in and as whom, and may lie:
# it shall use up neither the room of others nor that of a source.
MOST_TO_ONE, MOST_FROM_ONE, MOST_BETWEEN_TWO = 100, 100, 10

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
        waiting = self.all()
        for check in waiting:
            if check.is_between(source, destination, login):
                return check
        self._refuse_too_many(waiting, source, destination)
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

    def _refuse_too_many(
        self, waiting: list[Check], source: NodeRecord, destination: NodeRecord
    ) -> None:
        comes = {c.id for c in waiting if c.source.id == source.id}
        goes = {c.id for c in waiting if c.destination.id == destination.id}
        here, there = source.label, destination.label
        counted = (
            (len(comes & goes), MOST_BETWEEN_TWO, f" from {here} to {there}"),
            (len(comes), MOST_FROM_ONE, f" from {here}"),
            (len(goes), MOST_TO_ONE, f" to {there}"),
            (len(self._checks), MOST, ""),
        )
        for count, most, where in counted:
            if count >= most:
                text = f"{most} sign-ins{where} wait for a check already; try again later"
                raise RefusedError(text)

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
