"""Connectors for apps: who is one, and what the internet's rule opens there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.policy.makers import accept, compiled, make_inventory, make_machine

from gatepost.policy.apps import APP_CONNECTORS, texts_of
from gatepost.policy.compiled import Compiled
from gatepost.policy.intervals import bits, span_of

USER, CONNECTOR, ROUTER = 1, 2, 3
LEARNED, PRIVATE = "203.0.113.80/32", "10.9.0.0/16"


def make_mesh(*connectors: str, is_connector: bool = True) -> Compiled:
    """Return alice's machine, a connector and a plain router, both with the same routes."""
    routes = (LEARNED, PRIVATE)
    says = replace(
        make_machine(CONNECTOR, tags=("tag:web",), routes=routes), is_connector=is_connector
    )
    router = make_machine(ROUTER, tags=("tag:router",), routes=("203.0.113.90/32",))
    app = {"name": "x", "connectors": [*connectors], "domains": ["wiki.example"]}
    return compiled(
        make_inventory(make_machine(USER), says, router),
        acls=[accept("alice@example.com", "autogroup:internet:*")],
        nodeAttrs=[{"target": ["*"], "app": {APP_CONNECTORS: [app]}}],
    )


@pytest.mark.parametrize(
    ("named", "found"),
    [(("tag:web",), [CONNECTOR]), (("*",), [CONNECTOR]), (("tag:db",), []), ((), [])],
)
def test_a_connector_says_so_and_is_named(named: tuple[str, ...], found: list[int]) -> None:
    assert list(bits(make_mesh(*named).connectors)) == found
    assert list(bits(make_mesh(*named, is_connector=False).connectors)) == []


def test_the_internet_leads_to_what_a_connector_learned_and_to_no_other_router() -> None:
    mesh = make_mesh("tag:web")
    learned = next(n for n in mesh.machines[CONNECTOR].routes if str(n) == LEARNED)
    view = mesh.view(USER)

    assert [span for span, _ in view.subnets] == [span_of(learned)]
    assert list(bits(view.peers)) == [CONNECTOR]
    assert list(bits(view.exits)) == []


def test_without_an_app_the_internet_leads_to_no_router() -> None:
    mesh = make_mesh("tag:db")

    assert mesh.view(USER).subnets == ()
    assert mesh.view(USER).peers == 0


def test_one_machine_becoming_a_connector_is_noticed() -> None:
    before = make_mesh("tag:web", is_connector=False)
    now = replace(before.machines[CONNECTOR], is_connector=True)
    inventory = replace(before.directory.inventory, machines={**before.machines, CONNECTOR: now})
    after = before.after(inventory, [CONNECTOR])

    assert before.view(USER).subnets == ()
    assert after.view(USER) == make_mesh("tag:web").view(USER)
    assert after.filter(CONNECTOR) == make_mesh("tag:web").filter(CONNECTOR)


@pytest.mark.parametrize("app", [None, [], "x", {"domains": "x"}, {"domains": None}, {}])
def test_an_app_that_is_written_otherwise_names_nothing(app: object) -> None:
    assert texts_of(app, "domains") == ()


def test_only_texts_are_names() -> None:
    assert texts_of({"domains": ["a.example", 1, None, "b.example"]}, "domains") == (
        "a.example",
        "b.example",
    )
