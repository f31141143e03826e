"""`gatepost admin` against a small server in memory."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.cli.conftest import Run

from gatepost.errors import NotFoundError, RefusedError
from gatepost.localapi.listen import serve_local
from gatepost.localapi.router import Answer, Call, Route, Router
from gatepost.model.admin import (
    ApproveRequest,
    KeyDocument,
    KeyRequest,
    NodeDocument,
    NodeRequest,
    RegistrationDocument,
    RouteChoiceDocument,
    ServerDocument,
    UserDocument,
    UserRequest,
)
from gatepost.testing.local_thread import served

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


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    memory = Server()
    router = Router(memory.routes(), lambda _peer: None)
    with served(lambda: serve_local(router, tmp_path / "admin.sock")):
        yield memory


def test_users_are_made_renamed_and_deleted(run: Run, server: Server) -> None:
    assert run("admin", "users", "create", "bob", "--display-name", "Bob").code == 0
    assert run("admin", "users", "rename", "bob", "robert").code == 0
    assert "robert" in run("admin", "users", "list").out
    assert run("admin", "users", "delete", "robert").code == 0
    assert [user.name for user in server.users.values()] == ["alice"]


def test_a_role_is_given_by_name(run: Run, server: Server) -> None:
    assert run("admin", "users", "role", "alice", "network-admin").code == 0
    assert server.users[1].role == "network-admin"
    assert run("admin", "users", "role", "alice", "king").code != 0


@pytest.mark.usefixtures("server")
def test_a_refusal_of_the_server_is_shown(run: Run) -> None:
    said = run("admin", "users", "delete", "alice")

    assert said.code == 1
    assert "owns 1 nodes" in said.err


def test_a_new_keys_secret_is_all_that_is_printed(run: Run, server: Server) -> None:
    said = run("admin", "keys", "create", "--user", "alice", "--reusable", "--expiry", "90d")

    assert (said.code, said.out, said.err) == (0, f"{SECRET}\n", "")
    assert server.keys[1].reusable
    assert server.keys[1].expires == 4_000_000_000.0 + 90 * 86400


def test_a_key_can_give_tags_instead_of_a_user(run: Run, server: Server) -> None:
    words = ("--tag", "tag:a", "--tag", "tag:b,tag:c", "--ephemeral", "--json")
    said = run("admin", "keys", "create", *words)

    assert json.loads(said.out)["tags"] == ["tag:a", "tag:b", "tag:c"]
    assert server.keys[1].ephemeral


@pytest.mark.parametrize(
    ("words", "complaint"),
    [((), "Give --user NAME"), (("--user", "alice", "--expiry", "0"), "never valid")],
)
@pytest.mark.usefixtures("server")
def test_a_useless_key_is_not_asked_for(run: Run, words: tuple[str, ...], complaint: str) -> None:
    said = run("admin", "keys", "create", *words)

    assert said.code == 1
    assert complaint in said.err


def test_a_revoked_key_is_listed_as_such_without_its_secret(run: Run, server: Server) -> None:
    run("admin", "keys", "create", "--user", "alice")
    assert run("admin", "keys", "revoke", "1").code == 0
    said = run("admin", "keys", "list")

    assert server.keys[1].revoked
    assert "revoked" in said.out
    assert SECRET not in said.out


def test_nodes_are_renamed_tagged_expired_and_deleted(run: Run, server: Server) -> None:
    assert run("admin", "nodes", "rename", "far", "near").code == 0
    assert run("admin", "nodes", "tag", "near", "tag:a,tag:b").code == 0
    assert run("admin", "nodes", "expire", "7").code == 0
    assert set(server.nodes[7].tags) == {"tag:a", "tag:b"}
    said = run("admin", "nodes", "list")
    assert ("near" in said.out, "expired" in said.out) == (True, True)
    assert run("admin", "nodes", "delete", "near").code == 0
    assert server.nodes == {}


def test_routes_are_approved_next_to_those_approved_already(run: Run, server: Server) -> None:
    assert run("admin", "routes", "approve", "far", "10.1.0.0/16").code == 0
    assert server.nodes[7].approved_routes == ("10.1.0.0/16", "10.2.0.0/16")


def test_an_approval_is_taken_back(run: Run, server: Server) -> None:
    assert run("admin", "routes", "unapprove", "7", "10.2.0.0/16").code == 0
    assert server.nodes[7].approved_routes == ()


@pytest.mark.usefixtures("server")
def test_approving_what_nobody_advertises_is_said(run: Run) -> None:
    said = run("admin", "routes", "approve", "far", "10.9.0.0/16")

    assert said.code == 0
    assert "does not advertise it yet" in said.err


@pytest.mark.usefixtures("server")
def test_routes_list_shows_what_waits(run: Run) -> None:
    lines = run("admin", "routes", "list").out.splitlines()

    assert lines[1].split() == ["7", "far", "10.1.0.0/16", "waits", "for", "approval"]
    assert lines[2].split() == ["7", "far", "10.2.0.0/16", "approved"]
    assert json.loads(run("admin", "routes", "list", "--json").out)[0]["approved"] is False


@pytest.mark.parametrize(
    ("reachable", "state"),
    [(True, "approved, stands by"), (False, "approved, does not answer")],
)
def test_routes_list_tells_who_stands_by_from_who_is_dead(
    run: Run, server: Server, *, reachable: bool, state: str
) -> None:
    node = server.nodes[7]
    server.nodes[7] = replace(node, primary_routes=(), reachable=reachable)

    assert run("admin", "routes", "list").out.splitlines()[2].endswith(state)


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        (("--all",), RouteChoiceDocument()),
        (("--none",), RouteChoiceDocument(only=())),
        (("--only", "10.2.0.0/16"), RouteChoiceDocument(only=("10.2.0.0/16",))),
        (("--except", "10.3.0.0/16"), RouteChoiceDocument(refused=("10.3.0.0/16",))),
        (
            ("--only", "10.0.0.0/8", "--except", "10.3.0.0/16"),
            RouteChoiceDocument(only=("10.0.0.0/8",), refused=("10.3.0.0/16",)),
        ),
    ],
    ids=["all", "none", "only", "except", "only and except"],
)
def test_the_server_chooses_what_a_node_is_shown(
    run: Run, server: Server, words: tuple[str, ...], choice: RouteChoiceDocument
) -> None:
    assert run("admin", "routes", "accept", "far", *words).code == 0
    assert server.nodes[7].accepts == choice


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("words", [(), ("--all", "--none"), ("--none", "--only", "10.0.0.0/8")])
def test_two_choices_at_once_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert run("admin", "routes", "accept", "far", *words).code == 2


def test_routes_list_shows_who_is_preferred_and_who_uses_only_some(
    run: Run, server: Server
) -> None:
    choice = RouteChoiceDocument(only=("10.3.0.0/16", "10.4.0.0/16"), refused=("10.4.1.0/24",))
    server.nodes[7] = replace(
        server.nodes[7], preferred_routes=("10.2.0.0/16", "10.9.0.0/16"), accepts=choice
    )
    server.nodes[8] = replace(server.nodes[7], id=8, name="none", announced_routes=())
    server.nodes[8] = replace(
        server.nodes[8],
        approved_routes=(),
        preferred_routes=(),
        accepts=RouteChoiceDocument(only=()),
    )
    lines = run("admin", "routes", "list").out.splitlines()

    assert [line.split(maxsplit=3)[3] for line in lines[2:4]] == [
        "approved, preferred",
        "not advertised, preferred",
    ]
    assert [line.split(maxsplit=2) for line in lines[5:]] == [
        ["ID", "NODE", "USES OF OTHERS"],
        ["7", "far", "only 10.3.0.0/16, 10.4.0.0/16, not 10.4.1.0/24"],
        ["8", "none", "none"],
    ]


def test_what_is_preferred_and_not_advertised_is_said(run: Run, server: Server) -> None:
    said = run("admin", "routes", "prefer", "far", "10.9.0.0/16")

    assert said.code == 0
    assert "does not advertise it yet" in said.err
    assert server.nodes[7].preferred_routes == ("10.9.0.0/16",)


def test_a_node_is_preferred_for_networks_and_for_none_again(run: Run, server: Server) -> None:
    assert run("admin", "routes", "prefer", "far", "10.1.0.0/16,10.2.0.0/16").code == 0
    chosen = server.nodes[7].preferred_routes
    assert run("admin", "routes", "prefer", "far").code == 0

    assert (chosen, server.nodes[7].preferred_routes) == (("10.1.0.0/16", "10.2.0.0/16"), ())


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "words",
    [
        ("routes", "approve", "nobody", "10.1.0.0/16"),
        ("routes", "unapprove", "far", "10.1.0.0/16"),
        ("nodes", "delete", "nobody"),
        ("users", "delete", "nobody"),
    ],
)
def test_what_does_not_exist_is_named(run: Run, words: tuple[str, ...]) -> None:
    said = run("admin", *words)

    assert said.code == 1
    assert {"nobody", "10.1.0.0/16"} & {word.strip("'\"") for word in said.err.split()}


def test_a_registration_is_approved_by_id_or_by_its_address(run: Run, server: Server) -> None:
    assert "new" in run("admin", "registrations", "list").out
    address = "https://mesh.example/register/abc"
    assert run("admin", "registrations", "approve", address, "--user", "alice").code == 0
    assert server.approved == {"abc": "alice"}


def test_a_registration_is_denied(run: Run, server: Server) -> None:
    assert run("admin", "registrations", "deny", "abc").code == 0
    assert (server.waiting, server.approved) == ({}, {})


@pytest.mark.parametrize(
    ("words", "said"),
    [(("registrations", "list"), "Nobody waits."), (("keys", "list"), "There are no keys.")],
)
def test_an_empty_list_says_so_beside_the_output(
    run: Run, server: Server, words: tuple[str, ...], said: str
) -> None:
    server.waiting.clear()
    answer = run("admin", *words)

    assert (answer.code, answer.out, answer.err) == (0, "", f"{said}\n")
    assert run("admin", *words, "--json").out == "[]\n"


@pytest.mark.usefixtures("server")
def test_server_shows_where_it_is_and_how_full(run: Run) -> None:
    said = run("admin", "server")

    assert "https://mesh.example" in said.out
    assert "1, 1 connected" in said.out


def test_without_a_server_the_exit_code_is_3(run: Run) -> None:
    said = run("admin", "nodes", "list")

    assert said.code == 3
    assert "sudo systemctl start gatepost-coordination" in said.err
