"""The administration API, on a Unix socket for root and the group `gatepost` only.

Even reading needs permission: node keys and who waits for approval are nobody
else's business. Documents: `gatepost.model.admin`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from importlib.metadata import version
from typing import TypeVar

from gatepost.coordination import administration
from gatepost.coordination.documents import (
    key_document,
    login_document,
    node_document,
    user_document,
)
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.logins import Login, Logins
from gatepost.coordination.mapper import Mesh
from gatepost.coordination.registrar import Registrar
from gatepost.coordination.stream import Streams
from gatepost.errors import NotFoundError, RefusedError
from gatepost.localapi.router import Answer, Call, Guard, Route, Router
from gatepost.model.admin import (
    ApproveRequest,
    KeyRequest,
    NodeDocument,
    NodeRequest,
    ServerDocument,
    UserRequest,
)
from gatepost.model.keys import MachinePublic

V = TypeVar("V")

SECRET_PREFIX = "gpauth-"  # noqa: S105  # tells what it is, as people and scanners look for it


class AdminApi:
    """The functions behind the routes."""

    def __init__(
        self,
        ledger: Ledger,
        logins: Logins,
        registrar: Registrar,
        streams: Streams,
        mesh: Mesh,
        *,
        server_url: str,
        public_key: MachinePublic,
    ) -> None:
        self._ledger = ledger
        self._logins = logins
        self._registrar = registrar
        self._streams = streams
        self._mesh = mesh
        self._server_url = server_url
        self._public_key = public_key

    def router(self, guard: Guard, more: tuple[Route, ...] = ()) -> Router:
        """Return all routes, with those of the relay if there is one."""
        functions = {
            ("GET", "/v1/server"): self._server,
            ("GET", "/v1/users"): self._users,
            ("POST", "/v1/users"): self._make_user,
            ("PATCH", "/v1/users/{which}"): self._change_user,
            ("DELETE", "/v1/users/{which}"): self._delete_user,
            ("GET", "/v1/keys"): self._keys,
            ("POST", "/v1/keys"): self._make_key,
            ("DELETE", "/v1/keys/{which}"): self._revoke_key,
            ("GET", "/v1/nodes"): self._nodes,
            ("PATCH", "/v1/nodes/{which}"): self._change_node,
            ("DELETE", "/v1/nodes/{which}"): self._delete_node,
            ("GET", "/v1/registrations"): self._registrations,
            ("POST", "/v1/registrations/{which}"): self._approve,
            ("DELETE", "/v1/registrations/{which}"): self._deny,
        }
        routes = tuple(Route(m, p, f, guarded=True) for (m, p), f in functions.items())
        return Router((*routes, *more), guard)

    async def _server(self, _call: Call) -> Answer:
        records = self._ledger.world.records
        return ServerDocument(
            version=version("gatepost"),
            server_url=self._server_url,
            domain=self._mesh.domain,
            public_key=str(self._public_key),
            users=len(records.users),
            nodes=len(records.nodes),
            connected=self._streams.connected,
        )

    async def _users(self, _call: Call) -> Answer:
        records = self._ledger.world.records
        return [user_document(u, records) for u in records.users.values()]

    async def _make_user(self, call: Call) -> Answer:
        wish = call.body(UserRequest)
        made = await self._ledger.change(
            lambda r: administration.make_user(r, wish, self._ledger.now)
        )
        return self._user(made)

    async def _change_user(self, call: Call) -> Answer:
        which, wish = call.values["which"], call.body(UserRequest)
        changed = await self._ledger.change(lambda r: administration.change_user(r, which, wish))
        return self._user(changed)

    async def _delete_user(self, call: Call) -> Answer:
        which = call.values["which"]
        await self._ledger.change(lambda r: administration.delete_user(r, which))
        return None

    async def _keys(self, _call: Call) -> Answer:
        records = self._ledger.world.records
        return [key_document(k, records) for k in records.keys.values()]

    async def _make_key(self, call: Call) -> Answer:
        wish = call.body(KeyRequest)
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        made = await self._ledger.change(
            lambda r: administration.make_key(r, wish, secret, self._ledger.now)
        )
        records = self._ledger.world.records
        return key_document(_still(records.keys, made, "key"), records, secret)

    async def _revoke_key(self, call: Call) -> Answer:
        which = call.values["which"]
        await self._ledger.change(lambda r: administration.revoke_key(r, which))
        return None

    async def _nodes(self, _call: Call) -> Answer:
        world = self._ledger.world
        return [node_document(n, world, self._mesh) for n in world.nodes.values()]

    async def _change_node(self, call: Call) -> Answer:
        which, wish = call.values["which"], call.body(NodeRequest)
        changed = await self._ledger.change(
            lambda r: administration.change_node(r, which, wish, self._ledger.now)
        )
        return self._node(changed)

    async def _delete_node(self, call: Call) -> Answer:
        which = call.values["which"]
        await self._ledger.change(lambda r: administration.delete_node(r, which))
        return None

    async def _registrations(self, _call: Call) -> Answer:
        return [login_document(login) for login in self._logins.all()]

    async def _approve(self, call: Call) -> Answer:
        wish = call.body(ApproveRequest)
        user = administration.find_user(self._ledger.world.records, wish.user)
        made = await self._registrar.approve(self._login(call), user.id)
        return self._node(made.id)

    async def _deny(self, call: Call) -> Answer:
        self._login(call).decide("denied")
        return None

    def _login(self, call: Call) -> Login:
        which = call.values["which"]
        login = self._logins.find(which)
        if login is None:
            raise NotFoundError(
                f"no login {which!r} waits for approval",
                hint="it may have expired: the machine shows a new address, or use "
                "`gatepost admin registrations list`",
            )
        if login.verdict != "waiting":
            raise RefusedError(f"login {which} was {login.verdict} already")
        return login

    def _user(self, user_id: int) -> Answer:
        records = self._ledger.world.records
        return user_document(_still(records.users, user_id, "user"), records)

    def _node(self, node_id: int) -> NodeDocument:
        world = self._ledger.world
        return node_document(_still(world.nodes, node_id, "node"), world, self._mesh)


def _still(things: Mapping[int, V], number: int, kind: str) -> V:
    """Return what was changed just now; raise `NotFoundError` if another request deleted it.

    Several decisions become one transaction, and the world knows only what came out of it.
    """
    found = things.get(number)
    if found is None:
        raise NotFoundError(f"{kind} {number} was changed, and deleted by somebody else meanwhile")
    return found
