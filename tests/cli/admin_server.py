"""A coordination server in memory: its administration API, as the command line sees it."""

from __future__ import annotations

from msgspec.structs import replace

from gatepost.errors import NotFoundError, RefusedError
from gatepost.localapi.router import Answer, Call, Route
from gatepost.model.admin import (
    ApproveRequest,
    KeyDocument,
    KeyRequest,
    NodeDocument,
    NodeRequest,
    RegistrationDocument,
    ServerDocument,
    UserDocument,
    UserRequest,
)

SECRET = "s3cret"  # noqa: S105  # opens nothing


class Server:
    """Users, keys and nodes by id; what is deleted is gone."""

    def __init__(self) -> None:
        self.users = {1: UserDocument(id=1, name="alice", nodes=1)}
        self.keys: dict[int, KeyDocument] = {}
        self.nodes = {
            7: NodeDocument(
                id=7,
                name="far",
                fqdn="far.mesh.example",
                user="alice",
                addresses=("100.64.0.2",),
                online=True,
                announced_routes=("10.1.0.0/16", "10.2.0.0/16"),
                approved_routes=("10.2.0.0/16",),
                primary_routes=("10.2.0.0/16",),
            )
        }
        self.waiting = {"abc": RegistrationDocument(id="abc", hostname="new")}
        self.approved: dict[str, str] = {}

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/server", self.on_server),
            Route("GET", "/v1/users", self.on_users),
            Route("POST", "/v1/users", self.on_create_user),
            Route("PATCH", "/v1/users/{which}", self.on_rename_user),
            Route("DELETE", "/v1/users/{which}", self.on_delete_user),
            Route("GET", "/v1/keys", self.on_keys),
            Route("POST", "/v1/keys", self.on_create_key),
            Route("DELETE", "/v1/keys/{which}", self.on_revoke_key),
            Route("GET", "/v1/nodes", self.on_nodes),
            Route("PATCH", "/v1/nodes/{which}", self.on_change_node),
            Route("DELETE", "/v1/nodes/{which}", self.on_delete_node),
            Route("GET", "/v1/registrations", self.on_registrations),
            Route("POST", "/v1/registrations/{which}", self.on_approve),
            Route("DELETE", "/v1/registrations/{which}", self.on_deny),
        )

    async def on_server(self, _call: Call) -> Answer:
        return ServerDocument(
            version="0.1.0",
            server_url="https://mesh.example",
            domain="mesh.example",
            public_key="mkey:00",
            users=len(self.users),
            nodes=len(self.nodes),
            connected=1,
        )

    async def on_users(self, _call: Call) -> Answer:
        return tuple(self.users.values())

    async def on_create_user(self, call: Call) -> Answer:
        name = call.body(UserRequest).name or ""
        if name in {user.name for user in self.users.values()}:
            raise RefusedError(f"there is a user {name!r} already")
        made = UserDocument(id=len(self.users) + 1, name=name)
        self.users[made.id] = made
        return made

    def _user(self, call: Call) -> UserDocument:
        for user in self.users.values():
            if call.values["which"] in {str(user.id), user.name}:
                return user
        raise NotFoundError(f"no user is called {call.values['which']!r}")

    async def on_rename_user(self, call: Call) -> Answer:
        user, wish = self._user(call), call.body(UserRequest)
        changed = replace(user, name=wish.name or user.name, role=wish.role or user.role)
        self.users[user.id] = changed
        return self.users[user.id]

    async def on_delete_user(self, call: Call) -> Answer:
        user = self._user(call)
        if user.nodes:
            raise RefusedError(f"user {user.name!r} owns {user.nodes} nodes")
        del self.users[user.id]
        return None

    async def on_keys(self, _call: Call) -> Answer:
        return tuple(replace(key, secret="") for key in self.keys.values())

    async def on_create_key(self, call: Call) -> Answer:
        wanted = call.body(KeyRequest)
        made = KeyDocument(
            id=len(self.keys) + 1,
            user=wanted.user,
            secret=SECRET,
            prefix="s3c",
            reusable=wanted.reusable,
            ephemeral=wanted.ephemeral,
            tags=wanted.tags,
            expires=4_000_000_000.0 + (wanted.lifetime or 0.0),
        )
        self.keys[made.id] = made
        return made

    async def on_revoke_key(self, call: Call) -> Answer:
        key = self.keys[int(call.values["which"])]
        self.keys[key.id] = replace(key, revoked=True)
        return None

    async def on_nodes(self, _call: Call) -> Answer:
        return tuple(self.nodes.values())

    def _node(self, call: Call) -> NodeDocument:
        for node in self.nodes.values():
            if call.values["which"] in {str(node.id), node.name}:
                return node
        raise NotFoundError(f"no node is called {call.values['which']!r}")

    async def on_change_node(self, call: Call) -> Answer:
        node, wanted = self._node(call), call.body(NodeRequest)
        approved = {*node.approved_routes, *wanted.approve_routes}
        if absent := set(wanted.unapprove_routes) - approved:
            raise NotFoundError(f"{node.name} has no approved route {min(absent)}")
        self.nodes[node.id] = replace(
            node,
            name=wanted.name or node.name,
            expired=wanted.expire or node.expired,
            tags=node.tags if wanted.tags is None else wanted.tags,
            approved_routes=tuple(sorted(approved - set(wanted.unapprove_routes))),
            preferred_routes=(
                node.preferred_routes if wanted.prefer_routes is None else wanted.prefer_routes
            ),
            accepts=wanted.accepts or node.accepts,
        )
        return self.nodes[node.id]

    async def on_delete_node(self, call: Call) -> Answer:
        del self.nodes[self._node(call).id]
        return None

    async def on_registrations(self, _call: Call) -> Answer:
        return tuple(self.waiting.values())

    async def on_approve(self, call: Call) -> Answer:
        self.waiting.pop(call.values["which"])
        self.approved[call.values["which"]] = call.body(ApproveRequest).user
        return None

    async def on_deny(self, call: Call) -> Answer:
        self.waiting.pop(call.values["which"])
        return None
