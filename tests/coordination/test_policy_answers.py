"""Questions are answered about what was asked, or refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.policy.small_mesh import MESH

from gatepost.coordination.policy.answers import answer
from gatepost.errors import NotFoundError, SettingsError
from gatepost.model.policy import CanDocument, CanRequest
from gatepost.policy.compiled import Compiled
from gatepost.policy.inventory import Inventory, Member
from gatepost.policy.read import read

NAMES: dict[str, object] = {"tagOwners": {"tag:web": [], "tag:router": []}}
ALICE_TO_WEB = {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web:80"]}


def ask(
    source: str,
    destination: str,
    *,
    login: str = "",
    protocol: str = "",
    mesh: Inventory = MESH,
    **sections: object,
) -> CanDocument:
    compiled = Compiled.of(read(json.dumps(NAMES | {"acls": [ALICE_TO_WEB]} | sections)), mesh)
    request = CanRequest(
        source=source, destination=destination, port=80, login=login, protocol=protocol
    )
    return answer(compiled, request)


def test_a_group_of_an_identity_provider_that_the_policy_does_not_name_is_nobody() -> None:
    with pytest.raises(NotFoundError, match="is nobody now"):
        ask("group:eng@example.com", "m3")


@pytest.mark.parametrize("name", ["m1", "M1", "m1.mesh.example."])
def test_a_node_is_found_by_its_name_with_or_without_a_domain(name: str) -> None:
    assert [p.source for p in ask(name, "m3").pairs] == ["m1"]


def test_users_and_addresses_with_dots_are_not_taken_for_nodes() -> None:
    machines = dict(MESH.machines)
    machines[1] = replace(machines[1], name="bob")
    machines[2] = replace(machines[2], name="10")
    members = {**MESH.members, 3: Member(id=3, login="bob.smith@example.com")}
    machines[5] = replace(machines[5], owner=3)
    mesh = replace(MESH, machines=machines, members=members)

    assert [p.source for p in ask("bob.smith@example.com", "m3", mesh=mesh).pairs] == ["m5"]
    assert [p.source for p in ask("10.9.9.9", "m3", mesh=mesh).pairs] == ["10.9.9.9"]


@pytest.mark.parametrize(
    "name", ["10.0.0.0/8", "10.0.0.1-10.0.0.9", "office", "ipset:all", "autogroup:danger-all"]
)
def test_a_range_is_no_end_of_a_question(name: str) -> None:
    hosts, ip_sets = {"office": "10.0.0.0/24"}, {"ipset:all": ["10.0.0.0/8"]}

    for source, destination in ((name, "m3"), ("m1", name)):
        with pytest.raises(SettingsError, match="one address, not a range"):
            ask(source, destination, hosts=hosts, ipsets=ip_sets)


def test_a_host_and_a_network_of_one_address_are_asked_about() -> None:
    assert ask("m1", "web", hosts={"web": "100.64.0.3"}).allowed
    assert ask("100.64.0.1/32", "m3").allowed


def test_everything_is_every_node() -> None:
    found = ask("*", "m3")

    assert [p.source for p in found.pairs if p.allowed] == ["m1", "m5"]
    assert [p.source for p in found.pairs] == ["m1", "m2", "m3", "m4", "m5"]


def test_a_ping_that_passes_by_a_rule_for_something_else_is_told() -> None:
    only_udp = [{**ALICE_TO_WEB, "proto": "udp"}]
    found = ask("m1", "m3", protocol="icmp", acls=only_udp)

    assert not found.allowed
    assert "pings pass" in found.reason
    assert [(r.section, r.number) for r in found.rules] == [("acls", 1)]


def test_a_ping_passes_nowhere_without_a_rule() -> None:
    assert ask("m3", "m1", protocol="icmp").reason == "no rule allows it"
    assert ask("m1", "m3", protocol="icmp").allowed


def test_a_capability_has_the_values_of_every_rule_and_pair() -> None:
    def grant(source: str, *values: int) -> dict[str, object]:
        cap = {"example.com/cap/x": [{"n": n} for n in values]}
        return {"src": [source], "dst": ["tag:web"], "app": cap}

    grants = [grant("alice@example.com", 1), grant("*", 2, 1), grant("bob@example.com", 3)]

    assert ask("m1", "m3", grants=grants).capabilities == {
        "example.com/cap/x": ('{"n":1}', '{"n":2}')
    }
    assert ask("autogroup:member", "m3", grants=grants).capabilities == {
        "example.com/cap/x": ('{"n":1}', '{"n":2}', '{"n":3}')
    }


@pytest.mark.parametrize(
    ("source", "allowed", "actions", "reason"),
    [
        ("m1", ["m1"], ["check"], "a rule allows it after a check"),
        (
            "autogroup:member",
            ["m1", "m2", "m5"],
            ["check", "accept"],
            "a rule allows it after a check",
        ),
        ("m2", ["m2"], ["accept"], "a rule allows it"),
        ("m3", [], [], "no SSH rule allows"),
    ],
)
def test_a_sign_in_after_a_check_is_said_to_be_one(
    source: str, allowed: list[str], actions: list[str], reason: str
) -> None:
    usual = {"dst": ["tag:web"], "users": ["root"]}
    ssh = [
        {"action": "check", "src": ["alice@example.com"], **usual},
        {"action": "accept", "src": ["bob@example.com"], **usual},
    ]

    found = ask(source, "m3", login="root", ssh=ssh)

    assert found.allowed == bool(allowed)
    assert [rule.action for rule in found.rules] == actions
    assert found.reason.startswith(reason)
    assert [p.source for p in found.pairs if p.allowed] == allowed
