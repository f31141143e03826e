"""Answers `/machine/register`: the decision is `registration`'s, the waiting is done here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.limits import FailureLimit
from gatepost.coordination.logins import Login, Logins
from gatepost.coordination.mapper import profile, profile_id
from gatepost.coordination.presence import Presences
from gatepost.coordination.records import NodeRecord, Records
from gatepost.coordination.registration import (
    Expired,
    Joined,
    LoginNeeded,
    Outcome,
    Terms,
    approve,
    decide,
)
from gatepost.coordination.reports import report_of
from gatepost.coordination.waiting import first_of
from gatepost.coordination.world import Node
from gatepost.errors import Malformed, RefusedError, StateError
from gatepost.model.keys import MachinePublic
from gatepost.wire import register
from gatepost.wire.register import RegisterRequest, RegisterResponse

log = logging.getLogger(__name__)

LONGEST_WAIT = 600.0  # seconds in which a follow-up is held; the client asks again


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the machine key that Noise proved, the address, and a sign that it left."""

    machine: MachinePublic
    source: str
    closed: asyncio.Event


class TooManyError(RefusedError):
    """Raised for a source that failed too often; `wait` is in seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many failed attempts: wait {wait:.0f} seconds")
        self.wait = wait


class Registrar:
    """Lets machines in. `login_url` turns the id of a login into the address to show."""

    def __init__(
        self,
        ledger: Ledger,
        logins: Logins,
        presences: Presences,
        *,
        key_expiry: float | None,
        login_url: Callable[[str], str],
    ) -> None:
        self._ledger = ledger
        self._logins = logins
        self._presences = presences
        self._key_expiry = key_expiry
        self._login_url = login_url
        self._failures = FailureLimit()

    async def register(self, request: RegisterRequest, caller: Caller) -> RegisterResponse:
        """Answer a request; raise `TooManyError` when its source failed too often.

        A valid key is never made to wait: another machine behind the same
        address may be the one that fails. Keys are too long to be guessed; the
        limit is against floods.
        """
        try:
            if request.followup:
                await self._follow_up(request, caller)
            outcome = await self._ledger.change(
                lambda records: decide(records, request, caller.machine, self._terms())
            )
            return await self._answer(outcome, request, caller)
        except TooManyError:
            raise
        except (RefusedError, Malformed) as error:
            self._count_failure(caller)
            log.info("registration from %s refused: %s", caller.source, error)
            return RegisterResponse(error=str(error))
        except StateError:
            # The ledger has logged the details; the file's path is nobody's business outside.
            return RegisterResponse(
                error="the coordination server cannot store anything now; "
                "its administrator finds the reason in its log"
            )

    async def approve(self, login: Login, user_id: int) -> NodeRecord:
        """Let a waiting login in; raise `RefusedError` or `StateError`."""

        def decision(records: Records) -> Decision[NodeRecord]:
            if login.verdict != "waiting":
                raise RefusedError(f"this login was {login.verdict} already")
            if user_id not in records.users:
                raise RefusedError(f"there is no user with id {user_id} any more")
            return approve(records, login.request, login.machine, user_id, self._terms())

        record = await self._ledger.change(decision)
        login.decide("approved")
        return record

    def _count_failure(self, caller: Caller) -> None:
        if wait := self._failures.wait(caller.source, self._ledger.now):
            raise TooManyError(wait)
        self._failures.fail(caller.source, self._ledger.now)

    def _terms(self) -> Terms:
        rights = self._ledger.world.rights
        return Terms(
            now=self._ledger.now,
            key_expiry=self._key_expiry,
            policy=rights.policy,
            members=rights.inventory.members,
        )

    async def _follow_up(self, request: RegisterRequest, caller: Caller) -> None:
        """Hold the request until its login is decided, has expired, or the client has left."""
        login = self._logins.find(request.followup.rstrip("/").rpartition("/")[2])
        if login is None or login.machine != caller.machine:
            return
        await first_of(login.decided, caller.closed, LONGEST_WAIT)
        if login.verdict == "denied":
            raise RefusedError("the login was denied by the administrator")

    async def _answer(
        self, outcome: Outcome, request: RegisterRequest, caller: Caller
    ) -> RegisterResponse:
        match outcome:
            case Joined(record):
                await self._take_hostinfo(record, request)
                self._presences.joined(record.id)
                return self._welcome(record)
            case Expired():
                return RegisterResponse(node_key_expired=True)
            case LoginNeeded():
                self._count_failure(caller)
                login = self._logins.open(request, caller.machine)
                return RegisterResponse(auth_url=self._login_url(login.id))

    async def _take_hostinfo(self, record: NodeRecord, request: RegisterRequest) -> None:
        """Keep what a node says as it registers again; a new one's is there already."""
        node = self._ledger.world.nodes.get(record.id)
        if node is None or request.hostinfo is None:
            return
        report = report_of(node.report, request.hostinfo, version=request.version)
        if report != node.report:
            await self._ledger.report(record.id, report)

    def _welcome(self, record: NodeRecord) -> RegisterResponse:
        owner = profile(self._ledger.world.records.users, profile_id(Node(record=record)))
        return RegisterResponse(
            user=register.User(id=owner.id, display_name=owner.display_name),
            login=register.Login(
                id=owner.id,
                provider="gatepost",
                login_name=owner.login_name,
                display_name=owner.display_name,
            ),
            machine_authorized=True,
        )
