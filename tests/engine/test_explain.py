"""Why a thing is there."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.api import NetMap, Observed
from gatepost.engine.explain import Question, explain
from gatepost.engine.merge import Desired, merge
from gatepost.engine.plugins import Plugins
from gatepost.testing.makers import make_netmap, make_node, make_observed, make_private


@pytest.fixture
def question(
    plugins: Plugins, netmap: NetMap, settings: dict[str, Any], observed: Observed
) -> Question:
    return Question(plugins, netmap, settings, observed)


@pytest.fixture
def desired(question: Question) -> Desired:
    asked = question.plugins.contribute(question.netmap, question.settings, question.observed)
    return merge(asked)


def sources(what: str, desired: Desired, question: Question) -> dict[str, str]:
    return {d.kind: d.source for d in explain(what, desired, question)}


def test_a_forwarded_network_comes_from_the_setting_and_the_approval(
    desired: Desired, question: Question
) -> None:
    found = sources("10.1.0.0/16", desired, question)

    assert found["Forward"] == (
        "setting networks (subnet-router); netmap: a route approved for this box (subnet-router)"
    )
    assert found["Advertise"] == "setting networks (subnet-router)"


def test_a_remote_network_comes_from_the_peer_and_the_wish_to_accept_routes(
    desired: Desired, question: Question
) -> None:
    found = sources("10.9.0.0/16", desired, question)

    assert (
        found["AllowedPrefix"] == "setting accept-routes (mesh); netmap: box2.mesh.example (mesh)"
    )
    assert found["Route"] == found["AllowedPrefix"]


def test_a_setting_that_others_need_is_where_a_thing_comes_from(
    desired: Desired, question: Question
) -> None:
    found = sources("routingdaemon", desired, question)["RoutingDaemon"]

    assert "setting as-number (dynamic-routing)" in found
    assert "setting neighbours (dynamic-routing)" in found


def test_an_address_is_explained_by_what_holds_it(desired: Desired, question: Question) -> None:
    assert "Route" in sources("10.9.4.4", desired, question)


@pytest.mark.parametrize("wider", ["10.8.0.0/15", "10.0.0.0/8"])
def test_a_wider_network_is_explained_by_what_is_in_it(
    desired: Desired, question: Question, wider: str
) -> None:
    narrow = {(d.kind, d.text) for d in explain("10.9.0.0/16", desired, question)}

    assert narrow
    assert narrow <= {(d.kind, d.text) for d in explain(wider, desired, question)}


def test_a_peer_is_found_by_its_name(desired: Desired, question: Question) -> None:
    assert set(sources("box3", desired, question)) == {"WireGuardPeer", "AllowedPrefix"}


def test_a_noun_lists_all_of_its_kind(desired: Desired, question: Question) -> None:
    reasons = explain("WireGuardDevice", desired, question)

    assert [(d.kind, d.plugins) for d in reasons] == [("WireGuardDevice", ("mesh",))]


def test_what_keeps_the_lan_is_explained_by_what_was_observed(
    plugins: Plugins, netmap: NetMap, settings: dict[str, Any]
) -> None:
    question = Question(plugins, netmap, settings, make_observed("10.9.0.0/16"))
    desired = merge(plugins.contribute(netmap, settings, question.observed))
    routes = [d for d in explain("10.9.0.0/16", desired, question) if d.kind == "Route"]
    (reason,) = [route for route in routes if route.plugins == ("mesh",)]

    assert reason.text == "52 10.9.0.0/16, kind throw"
    assert "observation WatchLocalNetworks (mesh)" in reason.source


def test_nobody_wants_what_is_not_there(desired: Desired, question: Question) -> None:
    assert explain("203.0.113.0/24", desired, question) == ()


def test_one_peer_of_many_is_found_without_asking_for_each(
    plugins: Plugins, settings: dict[str, Any], observed: Observed
) -> None:
    me = make_node(1, key=make_private(1).public)
    others = (*(make_node(n) for n in range(2, 300)), make_node(300, "10.77.0.0/16"))
    netmap = make_netmap(me=me, others=others)
    question = Question(plugins, netmap, settings, observed)
    desired = merge(plugins.contribute(netmap, settings, observed))

    assert "box300" in sources("10.77.0.0/16", desired, question)["AllowedPrefix"]
