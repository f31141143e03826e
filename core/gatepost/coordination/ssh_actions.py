"""Answers a machine that asks whether somebody may sign in whom a rule wants checked.

GET /machine/ssh/action/SOURCE/to/DESTINATION?local_user=LOGIN[&check=ID]

without a check    confirmed lately: accept; else a message for who signs in, and the next address
with a check       wait for the verdict: accept, reject, or the same address again

What the policy says is asked of the policy each time, never taken from the address.
Source: protocol document 6.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from gatepost.coordination.ledger import Ledger
from gatepost.coordination.records import NodeRecord
from gatepost.coordination.ssh_checks import Check, SshChecks
from gatepost.coordination.waiting import first_of
from gatepost.errors import Malformed, RefusedError
from gatepost.net.control_server import ControlRequest, ControlResponse
from gatepost.policy.document import SshRule
from gatepost.policy.ssh import CHECK_PERIOD
from gatepost.wire.go_json import write_json

PATH = "/machine/ssh/action/"
LONGEST_WAIT = 300.0  # seconds in which a question is held; the machine asks again
_IDS = re.compile(r"([0-9]{1,16})/to/([0-9]{1,16})")
_LONGEST_LOGIN = 256  # characters
_Action = dict[str, Any]  # JSON: SSHAction of the wire


class SshActions:
    """The handler. `page` turns the id of a check into the address to show."""

    def __init__(self, ledger: Ledger, checks: SshChecks, page: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._checks = checks
        self._page = page

    async def answer(self, request: ControlRequest) -> ControlResponse:
        """Return what is to be done about one sign-in; raise `Malformed`, `RefusedError`."""
        source, destination = self._ends(request)
        login = request.query.get("local_user", "")
        if not login or len(login) > _LONGEST_LOGIN or not login.isprintable():
            raise Malformed(f"{login[:_LONGEST_LOGIN]!r} is no local user")
        check = self._checks.find(request.query.get("check", ""))
        if check is not None and check.is_between(source, destination, login):
            await first_of(check.decided, request.closed, LONGEST_WAIT)
            source, destination = self._ends(request)  # one may be gone, or have a new key
        if check is not None and not check.is_between(source, destination, login):
            check = None
        return ControlResponse(body=write_json(self._action(source, destination, login, check)))

    def _ends(self, request: ControlRequest) -> tuple[NodeRecord, NodeRecord]:
        """Return both nodes; the one that is signed in to must be who asks."""
        ids = _IDS.fullmatch(request.path.removeprefix(PATH))
        if ids is None:
            raise Malformed(f"{request.path[:100]} names no two nodes")
        nodes = self._ledger.world.records.nodes
        source, destination = nodes.get(int(ids[1])), nodes.get(int(ids[2]))
        if destination is None or destination.machine != request.machine:
            raise RefusedError(f"node {ids[2]} is not the machine that asks")
        if source is None:
            raise RefusedError(f"there is no node {ids[1]}")
        return source, destination

    def _action(
        self, source: NodeRecord, destination: NodeRecord, login: str, check: Check | None
    ) -> _Action:
        ssh = self._ledger.world.rights.compiled.ssh
        if self._ledger.world.nodes[source.id].presence.expired:
            return _rejection("the key of your machine has expired: log it in again")
        _, rule = ssh.verdict(source.id, destination.id, login)
        if rule is None:
            return _rejection(f"the policy does not let you in as {login}")
        if check is not None and check.verdict == "denied":
            return _rejection("the administrator has denied this sign-in")
        if self._is_passed(source, destination, rule, check):
            return ssh.acceptance(rule)
        if check is not None:
            return _again(check)
        check = self._checks.open(source, destination, login)
        text = f"signing in as {login} here must be confirmed: show {self._page(check.id)}"
        return {"message": _said(text), **_again(check)}

    def _is_passed(
        self, source: NodeRecord, destination: NodeRecord, rule: SshRule, check: Check | None
    ) -> bool:
        if rule.action == "accept" or (check is not None and check.verdict == "approved"):
            return True
        period = CHECK_PERIOD if rule.check_period is None else rule.check_period
        return self._checks.is_confirmed(source, destination, period)


def _again(check: Check) -> _Action:
    """Return the order to ask at another address; of that, clients take the path only."""
    path = f"{PATH}{check.source.id}/to/{check.destination.id}"
    query = f"local_user={quote(check.login, safe='')}&check={check.id}"
    return {"holdAndDelegate": f"https://unused{path}?{query}"}


def _rejection(text: str) -> _Action:
    return {"reject": True, "message": _said(text)}


def _said(text: str) -> str:
    """Return a line for a terminal that is in no mode yet."""
    return f"# Gatepost: {text}\r\n"
