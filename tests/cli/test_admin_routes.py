"""`gatepost admin routes` against a small server in memory."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from tests.cli.admin_server import Server
from tests.cli.conftest import Run

from gatepost.model.admin import (
    RouteChoiceDocument,
)


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
