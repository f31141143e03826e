"""The policy's part of the administration API.

Reading, testing and comparing may take seconds with thousands of nodes, so
they run in a thread; what they work on is immutable.
"""

from __future__ import annotations

import asyncio
import logging
import pwd
from pathlib import Path

from gatepost.coordination.database.store import Store
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.policy.answers import answer
from gatepost.coordination.policy.documents import (
    check_document,
    history_documents,
    policy_document,
    preview_document,
    refusal_document,
    version_document,
)
from gatepost.coordination.policy.versions import earlier, examine, put
from gatepost.errors import RefusedError, SettingsError
from gatepost.localapi.router import Answer, Call, Route
from gatepost.model.policy import CanRequest, PolicyRequest, UndoRequest
from gatepost.net.http_server import Peer
from gatepost.policy.preview import changes
from gatepost.policy.refusal import PolicyRefusedError

log = logging.getLogger(__name__)


class PolicyApi:
    """The functions behind the routes. `file` is where the policy comes from, if from a file."""

    def __init__(self, ledger: Ledger, file: Path | None = None) -> None:
        self._ledger = ledger
        self._file = file

    def routes(self) -> tuple[Route, ...]:
        functions = {
            ("GET", "/v1/policy"): self._get,
            ("PUT", "/v1/policy"): self._set,
            ("POST", "/v1/policy/check"): self._check,
            ("POST", "/v1/policy/preview"): self._preview,
            ("POST", "/v1/policy/can"): self._can,
            ("GET", "/v1/policy/history"): self._history,
            ("GET", "/v1/policy/history/{version}"): self._version,
            ("POST", "/v1/policy/undo"): self._undo,
        }
        return tuple(Route(m, p, f, guarded=True) for (m, p), f in functions.items())

    async def _get(self, _call: Call) -> Answer:
        world = self._ledger.world
        return await asyncio.to_thread(policy_document, world.records, world.rights.compiled)

    async def _set(self, call: Call) -> Answer:
        wish = call.body(PolicyRequest)
        await self._save(wish.text, etag=wish.etag, note=wish.note, peer=call.request.peer)
        return await self._get(call)

    async def _save(self, text: str, *, etag: str, note: str, peer: Peer) -> None:
        if self._file is not None:
            raise RefusedError(
                f"the policy comes from {self._file}, so it cannot be set here",
                hint="edit that file and restart, or take policy-file out of the settings",
            )
        author = await asyncio.to_thread(author_of, peer)
        await asyncio.to_thread(examine, text, self._ledger.world.rights.inventory)
        version = await self._ledger.change(
            lambda r: put(r, text, etag=etag, author=author, note=note, now=self._ledger.now)
        )
        log.info("version %d of the policy, by %s, is in force", version, author)

    async def _check(self, call: Call) -> Answer:
        text = call.body(PolicyRequest).text
        inventory = self._ledger.world.rights.inventory
        try:
            compiled = await asyncio.to_thread(examine, text, inventory)
        except PolicyRefusedError as refusal:
            return refusal_document(refusal)
        return await asyncio.to_thread(check_document, compiled)

    async def _preview(self, call: Call) -> Answer:
        text, world = call.body(PolicyRequest).text, self._ledger.world
        await asyncio.to_thread(examine, text, world.rights.inventory)
        after = await asyncio.to_thread(world.if_ruled_by, text, self._ledger.now)
        found = await asyncio.to_thread(changes, world.rights.compiled, after)
        return await asyncio.to_thread(preview_document, found, after)

    async def _can(self, call: Call) -> Answer:
        request, compiled = call.body(CanRequest), self._ledger.world.rights.compiled
        return await asyncio.to_thread(answer, compiled, request)

    async def _history(self, _call: Call) -> Answer:
        versions = await self._ledger.ask(Store.read_policies)
        return await asyncio.to_thread(history_documents, versions)

    async def _version(self, call: Call) -> Answer:
        versions = await self._ledger.ask(Store.read_policies)
        return version_document(earlier(versions, _number(call.values["version"])))

    async def _undo(self, call: Call) -> Answer:
        wish = call.body(UndoRequest)
        versions = await self._ledger.ask(Store.read_policies)
        wanted = earlier(versions, wish.version)
        note = f"version {wanted.id} again"
        await self._save(wanted.text, etag=wish.etag, note=note, peer=call.request.peer)
        return await self._get(call)


def _number(words: str) -> int:
    if not (words.isascii() and words.isdigit()):
        raise SettingsError(f"{words!r} is not the number of a version")
    return int(words)


def author_of(peer: Peer) -> str:
    """Return who is at the other end of the socket, by name if the system knows one."""
    if peer.user_id is None:
        return peer.address
    try:
        return pwd.getpwuid(peer.user_id).pw_name
    except KeyError:
        return f"user {peer.user_id}"
