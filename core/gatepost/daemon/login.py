"""Becoming a node, and staying one: the registration, as one conversation.

    key   what is asked                                   what may come back
    ----  ----------------------------------------------  -------------------------------
    node  "I am still here" (start of the daemon)         fine; expired; a URL to log in at
    new   with an auth key, or without                    fine; a URL; refused
    new   with the old key named (expired, forced)        the same node goes on under the new key

Source: protocol document 1.7.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from gatepost.daemon.keeper import Keeper
from gatepost.errors import RefusedError
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.register import RegisterAuth, RegisterRequest, RegisterResponse

log = logging.getLogger(__name__)

SAME_URL_PAUSE = 2.0  # seconds, when the server sends the login URL again without waiting
LOGOUT_PATIENCE = 10.0  # seconds
LOGGED_OUT = datetime.fromtimestamp(123, UTC)  # any time long past; official clients send this one


class Registrar(Protocol):
    """Who is asked; `net.control_client.ControlClient` is one."""

    async def register(
        self, request: RegisterRequest, *, wait: float | None = None
    ) -> RegisterResponse: ...


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What the operator asked for; `fresh` wants a new key even though the old one is good."""

    auth_key: str = ""
    fresh: bool = False


class Login:
    """Registers this machine with the server of the keeper's identity.

    `on_url` is told where to log in, "" when done.
    """

    def __init__(self, keeper: Keeper, version: int, on_url: Callable[[str], None]) -> None:
        self._keeper = keeper
        self._version = version
        self._on_url = on_url

    async def run(self, registrar: Registrar, asked: LoginRequest, hostinfo: Hostinfo) -> None:
        """Return when the node is registered; raise `RefusedError` with the server's reason."""
        key, old = await self._choose_key(asked)
        request = RegisterRequest(
            version=self._version,
            node_key=key.public,
            old_node_key=old.public if old else NodePublic.zero(),
            auth=RegisterAuth(auth_key=asked.auth_key) if asked.auth_key else None,
            hostinfo=hostinfo,
        )
        answer = await registrar.register(request)
        if answer.node_key_expired:
            log.info("the server says that this node's key has expired; trying a new one")
            key, old = await self._new_key(key)
            request = msgspec.structs.replace(request, node_key=key.public, old_node_key=old.public)
            answer = await registrar.register(request)
            if answer.node_key_expired:
                raise RefusedError("the server says that a key made just now has expired")
        await self._until_logged_in(registrar, request, answer)
        await self._keeper.keep_identity(replace(self._keeper.identity, node=key, candidate=None))

    async def _until_logged_in(
        self, registrar: Registrar, request: RegisterRequest, answer: RegisterResponse
    ) -> None:
        """Show the URL and wait for the server, for as long as it takes."""
        last = ""
        try:
            while answer.auth_url:
                if answer.auth_url == last:
                    await asyncio.sleep(SAME_URL_PAUSE)
                last = answer.auth_url
                self._on_url(last)
                following = msgspec.structs.replace(request, followup=last)
                answer = await registrar.register(following)
        finally:
            self._on_url("")

    async def _choose_key(self, asked: LoginRequest) -> tuple[NodePrivate, NodePrivate | None]:
        """Return the key to register and the one that it replaces."""
        identity = self._keeper.identity
        if identity.node is None or asked.fresh:
            return await self._candidate(), identity.node
        return identity.node, None

    async def _candidate(self) -> NodePrivate:
        """Return the key on its way, which is stored before anybody hears of it."""
        known = self._keeper.identity.candidate
        if known is not None:
            return known
        key = NodePrivate(secrets.token_bytes(32))
        await self._keeper.keep_identity(replace(self._keeper.identity, candidate=key))
        return key

    async def _new_key(self, expired: NodePrivate) -> tuple[NodePrivate, NodePrivate]:
        await self._keeper.keep_identity(replace(self._keeper.identity, candidate=None))
        return await self._candidate(), expired


async def log_out(registrar: Registrar, node: NodePrivate, version: int) -> None:
    """Tell the server that this node's key ends now; waits at most 10 s."""
    request = RegisterRequest(version=version, node_key=node.public, expiry=LOGGED_OUT)
    await registrar.register(request, wait=LOGOUT_PATIENCE)
