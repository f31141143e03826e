"""A preview says exactly what another policy changes, pair by pair."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain
from tests.policy.small_mesh import MESH

from gatepost.policy.compiled import Compiled
from gatepost.policy.explain import Question, can
from gatepost.policy.inventory import Inventory
from gatepost.policy.ports import TCP, UDP
from gatepost.policy.preview import INTERNET, Changes, Pair, changes
from gatepost.policy.read import read

NAMES: dict[str, Plain] = {
    "tagOwners": {"tag:web": [], "tag:router": []},
    "groups": {"group:all": ["alice@example.com", "bob@example.com"]},
    "hosts": {"web": "100.64.0.3"},
}
SOURCES = ("*", "alice@example.com", "group:all", "tag:web", "100.64.0.2", "autogroup:member")
TARGETS = ("*", "bob@example.com", "tag:web", "web", "autogroup:member", "fd7a:115c:a1e0::/64")
PORTS = ("*", "80", "80-90", "22,85")
PROTOCOLS = ("", "tcp", "udp")


def compiled(*acls: Plain, mesh: Inventory = MESH, **more: Plain) -> Compiled:
    return Compiled.of(read(json.dumps(NAMES | {"acls": acls} | more)), mesh)


def rule(source: str, *targets: str, proto: str = "") -> Plain:
    return {"action": "accept", "src": [source], "dst": list(targets), "proto": proto}


def drawn(source: str, target: str, ports: str, protocol: str) -> Plain:
    return rule(source, f"{target}:{ports}", proto=protocol)


RULES = st.builds(
    drawn,
    st.sampled_from(SOURCES),
    st.sampled_from(TARGETS),
    st.sampled_from(PORTS),
    st.sampled_from(PROTOCOLS),
)
POLICIES = st.lists(RULES, max_size=4).map(lambda rules: compiled(*rules))


def test_a_new_rule_shows_whom_it_opens_what() -> None:
    before = compiled(rule("alice@example.com", "tag:web:80"))
    after = compiled(rule("group:all", "tag:web:80"), rule("tag:web", "bob@example.com:22"))

    found = changes(before, after)

    assert found == Changes(gained=(Pair("m3", "m2", "22"), Pair("m2", "m3", "80")))


def test_a_rule_split_in_two_changes_nothing() -> None:
    whole = compiled(rule("group:all", "tag:web:80-90"))
    split = compiled(
        rule("alice@example.com", "tag:web:80-84,85-90", proto="tcp"),
        rule("alice@example.com", "tag:web:80-90", proto="udp"),
        rule("bob@example.com", "web:86-90", "web:80-85"),
    )

    assert changes(whole, split) == Changes()


def test_subnets_the_internet_capabilities_and_ssh_are_pairs_too() -> None:
    grants: Plain = [
        {"src": ["alice@example.com"], "dst": ["10.0.0.0/8"], "ip": ["tcp:5432"]},
        {"src": ["bob@example.com"], "dst": ["autogroup:internet"], "ip": ["*"]},
        {"src": ["bob@example.com"], "dst": ["tag:web"], "app": {"example.com/cap/x": [{}]}},
    ]
    ssh: Plain = [
        {"action": "check", "src": ["bob@example.com"], "dst": ["tag:web"], "users": ["root"]}
    ]

    mesh = with_router(routes=(ip_network("10.0.0.0/8"),), is_exit=True)
    found = changes(compiled(mesh=mesh), compiled(mesh=mesh, grants=grants, ssh=ssh))

    assert set(found.gained) == {
        Pair("m1", "10.0.0.0/8", "tcp:5432"),
        Pair("m5", "10.0.0.0/8", "tcp:5432"),
        Pair("m2", INTERNET, "*"),
        Pair("m2", "m3", "example.com/cap/x"),
        Pair("m2", "m3", "ssh as root after a check"),
    }
    assert found.lost == ()


def with_router(**changed: Any) -> Inventory:  # Any: whatever a machine has
    """Return the small mesh with another router."""
    return replace(MESH, machines={**MESH.machines, 4: replace(MESH.machines[4], **changed)})


def test_networks_and_exits_that_nobody_carries_are_no_gain() -> None:
    grants: Plain = [
        {"src": ["*"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"]},
    ]
    mesh = with_router(routes=())

    assert changes(compiled(mesh=mesh), compiled(mesh=mesh, grants=grants)) == Changes()


def test_a_network_that_is_carried_then_is_gained_by_those_whom_a_rule_lets() -> None:
    acl = rule("bob@example.com", "10.0.0.0/8:80")
    before = compiled(acl, mesh=with_router(routes=()))
    after = compiled(acl, mesh=with_router(routes=(ip_network("10.2.0.0/16"),)))

    assert changes(before, after).gained == (Pair("m2", "10.2.0.0/16", "80"),)
    assert changes(after, before).lost == (Pair("m2", "10.2.0.0/16", "80"),)


def test_a_rule_about_a_part_of_a_network_names_that_part() -> None:
    after = compiled(rule("bob@example.com", "10.2.0.7:80", "10.0.0.0/7:22"))

    assert set(changes(compiled(), after).gained) == {
        Pair("m2", "10.2.0.7", "80"),
        Pair("m2", "10.2.0.7", "22"),
        Pair("m2", "10.0.0.0/8", "22"),
    }


def test_own_devices_are_reached_by_their_owner_only() -> None:
    found = changes(compiled(), compiled(rule("autogroup:member", "autogroup:self:22")))

    assert set(found.gained) == {Pair("m1", "m5", "22"), Pair("m5", "m1", "22")}


@settings(deadline=None)
@given(POLICIES)
def test_a_policy_does_not_differ_from_itself(policy: Compiled) -> None:
    assert changes(policy, policy) == Changes()


@settings(deadline=None)
@given(POLICIES, POLICIES)
def test_what_one_direction_gains_the_other_loses(one: Compiled, other: Compiled) -> None:
    there, back = changes(one, other), changes(other, one)

    assert sorted(there.gained) == sorted(back.lost)
    assert sorted(there.lost) == sorted(back.gained)


@settings(deadline=None)
@given(POLICIES, POLICIES, st.sampled_from([22, 80, 85, 90, 4000]), st.sampled_from([TCP, UDP]))
def test_the_preview_says_what_single_questions_say(
    before: Compiled, after: Compiled, port: int, protocol: int
) -> None:
    found = changes(before, after)
    machines = MESH.machines.values()
    for one in machines:
        for other in machines:
            if one is other:
                continue
            was, will = (
                any(
                    can(policy, Question(source=s, destination=d, port=port, protocol=protocol))
                    .is_allowed
                    for s in one.addresses
                    for d in other.addresses
                )
                for policy in (before, after)
            )  # fmt: skip
            pairs = {(p.source, p.destination) for p in found.gained if _is_for(p, protocol, port)}
            losses = {(p.source, p.destination) for p in found.lost if _is_for(p, protocol, port)}

            assert ((one.name, other.name) in pairs) == (will and not was)
            assert ((one.name, other.name) in losses) == (was and not will)


def _is_for(pair: Pair, protocol: int, port: int) -> bool:
    """Say whether a pair's word, such as "80-90" or "tcp:80", means this port."""
    name, colon, ports = pair.what.rpartition(":")
    if colon and {"tcp": TCP, "udp": UDP}[name] != protocol:
        return False
    first, _, last = ports.replace("*", "0-65535").partition("-")
    return int(first) <= port <= int(last or first)
