"""The checks' part of the administration API: who waits, and the verdict."""

from __future__ import annotations

from gatepost.coordination.ssh_checks import Check, SshChecks
from gatepost.errors import NotFoundError
from gatepost.localapi.router import Answer, Call, Route
from gatepost.model.admin import SshCheckDocument


class SshCheckApi:
    """The functions behind the routes."""

    def __init__(self, checks: SshChecks) -> None:
        self._checks = checks

    def routes(self) -> tuple[Route, ...]:
        functions = {
            ("GET", "/v1/ssh-checks"): self._list,
            ("POST", "/v1/ssh-checks/{which}"): self._approve,
            ("DELETE", "/v1/ssh-checks/{which}"): self._deny,
        }
        return tuple(Route(m, p, f, guarded=True) for (m, p), f in functions.items())

    async def _list(self, _call: Call) -> Answer:
        return [_document(check) for check in self._checks.all()]

    async def _approve(self, call: Call) -> Answer:
        self._checks.decide(self._find(call), "approved")
        return None

    async def _deny(self, call: Call) -> Answer:
        self._checks.decide(self._find(call), "denied")
        return None

    def _find(self, call: Call) -> Check:
        which = call.values["which"]
        check = self._checks.find(which)
        if check is None:
            raise NotFoundError(
                f"no sign-in {which!r} waits for a check",
                hint="it may have expired: `gatepost admin ssh-checks list` shows who waits",
            )
        return check


def _document(check: Check) -> SshCheckDocument:
    return SshCheckDocument(
        id=check.id,
        source=check.source.label,
        destination=check.destination.label,
        login=check.login,
        created=check.created,
    )
