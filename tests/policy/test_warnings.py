"""What is allowed and hardly meant gets a warning, and nothing else does."""

from __future__ import annotations

import json

import pytest
from tests.policy.plain import Plain
from tests.policy.small_mesh import MESH

from gatepost.policy.compiled import Compiled
from gatepost.policy.read import read
from gatepost.policy.warnings import warnings

NAMES: dict[str, Plain] = {
    "tagOwners": {"tag:web": ["group:all"], "tag:nobody": []},
    "groups": {"group:all": ["alice@example.com", "bob@example.com"]},
    "postures": {"posture:p": ["node:os == 'linux'"]},
}


def acl(source: str, *targets: str, **more: Plain) -> Plain:
    return {"action": "accept", "src": [source], "dst": list(targets), **more}


def warned(policy: dict[str, Plain]) -> list[tuple[str, int]]:
    lines = json.dumps(NAMES | policy, indent=0)
    return [(w.code, w.place.line) for w in warnings(Compiled.of(read(lines), MESH))]


def codes(*acls: Plain, **more: Plain) -> list[str]:
    return [code for code, _ in warned({"acls": acls} | more)]


@pytest.mark.parametrize(
    ("acls", "code"),
    [
        ([acl("tag:nobody", "*:*")], "matches-nobody"),
        ([acl("*", "tag:nobody:*")], "matches-nobody"),
        ([acl("*", "192.0.2.1:80")], "matches-nobody"),
        ([acl("*", "*:*"), acl("tag:web", "bob@example.com:22")], "shadowed"),
        ([acl("group:all", "tag:web:1-100"), acl("bob@example.com", "tag:web:80")], "shadowed"),
        (
            [acl("*", "tag:web:80"), acl("*", "tag:web:81"), acl("*", "tag:web:81")],
            "shadowed",
        ),
    ],
)
def test_a_rule_for_nobody_or_said_before_is_warned_of(acls: list[Plain], code: str) -> None:
    assert codes(*acls) == [code]


@pytest.mark.parametrize(
    "acls",
    [
        [acl("tag:web", "bob@example.com:22"), acl("*", "*:*")],
        [acl("*", "tag:web:80"), acl("*", "tag:web:80-81")],
        [acl("*", "tag:web:80", proto="tcp"), acl("*", "tag:web:80")],
        [acl("*", "*:*"), acl("autogroup:danger-all", "*:*")],
        [acl("*", "*:*"), acl("10.0.0.0/8", "tag:web:80")],
        [acl("*", "tag:web:80", srcPosture=["posture:p"]), acl("*", "tag:web:80")],
        [acl("*", "*:*"), acl("*", "autogroup:internet:*")],
        [acl("autogroup:member", "autogroup:self:*"), acl("group:all", "bob@example.com:*")],
    ],
)
def test_what_adds_something_is_not_called_shadowed(acls: list[Plain]) -> None:
    assert "shadowed" not in codes(*acls)


def test_a_grant_can_be_said_by_a_rule_before_it() -> None:
    grant: dict[str, Plain] = {"src": ["tag:web"], "dst": ["bob@example.com"], "ip": ["tcp:22"]}
    rule = acl("*", "*:1-100", proto="tcp")

    assert codes(rule, grants=[grant]) == ["shadowed"]
    others: list[dict[str, Plain]] = [
        {"app": {"example.com/cap/x": []}},
        {"via": ["tag:web"]},
        {"ip": ["22"]},
    ]
    for more in others:
        assert "shadowed" not in codes(rule, grants=[grant | more])


def test_an_unknown_user_is_named_once_with_its_place() -> None:
    found = warned(
        {
            "acls": [acl("carol@example.com", "*:*"), acl("carol@example.com", "tag:web:1")],
            "grants": [{"src": ["group:all"], "dst": ["*"], "ip": ["*"]}],
        }
    )

    assert [code for code, _ in found].count("unknown-user") == 1


def test_groups_hosts_and_ip_sets_that_nothing_names_are_unused() -> None:
    more: dict[str, Plain] = {
        "groups": {"group:all": ["alice@example.com"], "group:idle": ["bob@example.com"]},
        "hosts": {"used": "10.0.0.1", "idle": "10.0.0.2"},
        "ipsets": {"ipset:idle": ["host:used"]},
    }

    assert codes(acl("*", "*:*"), **more) == ["unused", "unused", "unused"]


def test_a_name_that_only_a_test_has_is_used() -> None:
    more: dict[str, Plain] = {
        "groups": {n: ["alice@example.com"] for n in ("group:all", "group:ssh", "group:who")},
        "hosts": {"open": "10.0.0.1", "shut": "10.0.0.2", "far": "10.0.0.3"},
        "tests": [{"src": "group:who", "accept": ["open:80"], "deny": ["shut:80"]}],
        "sshTests": [{"src": "group:ssh", "dst": ["host:far"], "deny": ["root"]}],
    }

    assert "unused" not in codes(acl("*", "*:*"), **more)


def test_a_group_of_an_identity_provider_is_empty_and_said_so() -> None:
    assert codes(acl("group:eng@example.com", "*:*")) == ["matches-nobody", "synced-group"]


def test_a_policy_without_oddities_has_no_warnings() -> None:
    ssh: Plain = [
        {"action": "accept", "src": ["group:all"], "dst": ["autogroup:self"], "users": ["root"]}
    ]

    assert codes(acl("group:all", "tag:web:80"), acl("*", "autogroup:internet:*"), ssh=ssh) == []
