"""`gatepost admin` against a small server in memory."""

from __future__ import annotations

import json

import pytest
from tests.cli.admin_server import SECRET, Server
from tests.cli.conftest import Run


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
