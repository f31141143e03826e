"""Wildcards over users are for the domains that the tailnet has."""

from __future__ import annotations

import json

import pytest
from tests.policy.plain import Plain

from gatepost.policy.domains import check_domains
from gatepost.policy.read import read
from gatepost.policy.refusal import PolicyRefusedError


def with_source(source: str, *, login: str = "root") -> Plain:
    return {
        "tagOwners": {"tag:a": []},
        "ssh": [{"action": "accept", "src": [source], "dst": ["tag:a"], "users": [login]}],
    }


def judge(policy: Plain) -> None:
    check_domains(read(json.dumps(policy)), {"example.com"}).settle()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            with_source("user:*@example.org"),
            "[ssh] example.org is not associated with this Tailnet",
        ),
        (
            with_source("autogroup:member", login="localpart:*@example.org"),
            "example.org is not associated with this Tailnet and cannot be used in user:*@<domain>",
        ),
        (
            with_source("autogroup:member", login="localpart:*@*@example.com"),
            "*@example.com is not associated",
        ),
        ({"groups": {"group:a": ["user:*@x.org"]}}, "[groups] x.org is not associated"),
        ({"tagOwners": {"tag:a": ["user:*@x.org"]}}, "[tagOwners] x.org is not associated"),
        (
            {"acls": [{"action": "accept", "src": ["*"], "dst": ["user:*@x.org:*"]}]},
            "[acls] x.org is not associated",
        ),
        (
            {"grants": [{"src": ["user:*@x.org"], "dst": ["*"], "ip": ["*"]}]},
            "[grants] x.org is not associated",
        ),
    ],
)
def test_a_domain_of_somebody_else_is_refused(policy: Plain, message: str) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        judge(policy)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [
        with_source("user:*@example.com"),
        with_source("user:*@passkey"),
        with_source("autogroup:member", login="localpart:*@example.com"),
        with_source("autogroup:member", login="localpart:foo"),
        with_source("autogroup:member", login="localpart:*@"),
    ],
)
def test_own_domains_passkeys_and_what_is_no_pattern_are_taken(policy: Plain) -> None:
    judge(policy)
