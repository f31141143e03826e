"""Logins that wait for somebody to approve them (`AuthURL`). In memory only.

A restart forgets them: the client asks with an unknown address, is given a new
one and shows that. So nothing needs to be kept, and nobody can fill a disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gatepost.errors import RefusedError
from gatepost.model.keys import MachinePublic
from gatepost.wire.register import RegisterRequest

LIFETIME = 900.0  # seconds
MOST = 1000  # waiting at the same time

Verdict = Literal["waiting", "approved", "denied"]


@dataclass(slots=True, eq=False)
class Login:
    """One waiting login. `created` and `expires` are seconds since 1970."""

    id: str
    request: RegisterRequest
    machine: MachinePublic
    created: float
    expires: float
    verdict: Verdict = "waiting"
    decided: asyncio.Event = field(default_factory=asyncio.Event)

    def decide(self, verdict: Literal["approved", "denied"]) -> None:
        self.verdict = verdict
        self.decided.set()


class Logins:
    """All waiting logins; expired ones disappear when somebody looks."""

    def __init__(self, clock: Callable[[], float], make_id: Callable[[], str]) -> None:
        self._clock = clock
        self._make_id = make_id
        self._logins: dict[str, Login] = {}

    def open(self, request: RegisterRequest, machine: MachinePublic) -> Login:
        """Return the login of this machine and node key, a new one if there is none.

        Raise `RefusedError` if too many wait already.
        """
        for login in self.all():
            if login.machine == machine and login.request.node_key == request.node_key:
                return login
        if len(self._logins) >= MOST:
            raise RefusedError(f"{MOST} logins wait for approval already; try again later")
        now = self._clock()
        login = Login(self._make_id(), request, machine, now, now + LIFETIME)
        self._logins[login.id] = login
        return login

    def find(self, login_id: str) -> Login | None:
        """Return a login that has not expired, whatever its verdict."""
        self._forget_expired()
        return self._logins.get(login_id)

    def all(self) -> list[Login]:
        """Return the logins that wait, oldest first."""
        self._forget_expired()
        return [login for login in self._logins.values() if login.verdict == "waiting"]

    def _forget_expired(self) -> None:
        now = self._clock()
        for login in [i for i in self._logins.values() if i.expires <= now]:
            del self._logins[login.id]
            login.decided.set()
