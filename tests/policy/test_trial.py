"""A policy's own tests are run before it is taken, and say what does not hold."""

from __future__ import annotations

import json

import pytest
from tests.policy.plain import Plain
from tests.policy.small_mesh import MESH

from gatepost.policy.inventory import Inventory
from gatepost.policy.read import read
from gatepost.policy.selectors import Place
from gatepost.policy.trial import TestsFailedError, prove, run

NAMES: dict[str, Plain] = {
    "tagOwners": {"tag:web": [], "tag:router": [], "tag:new": []},
    "groups": {"group:all": ["alice@example.com", "bob@example.com"], "group:empty": []},
    "hosts": {"web": "100.64.0.3", "db": "10.1.2.3", "net": "10.0.0.0/8", "new": "192.0.2.1"},
    "postures": {"posture:mac": ["node:os == 'macos'"]},
}


def policy_of(*tests: Plain, ssh_tests: Plain = (), **more: Plain) -> str:
    rules: dict[str, Plain] = {
        "acls": [
            {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web:80,443"]},
            {"action": "accept", "src": ["group:all"], "dst": ["db:5432"], "proto": "tcp"},
            {"action": "accept", "src": ["tag:new"], "dst": ["tag:web:22"]},
            {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
            {"action": "accept", "src": ["bob@example.com"], "dst": ["tag:web:99"],
             "srcPosture": ["posture:mac"]},
            {"action": "accept", "src": ["*"], "dst": ["web:7"]},
            {"action": "accept", "src": ["web"], "dst": ["db:443"]},  # by IPv4 only
        ],
        "ssh": [
            {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web"],
             "users": ["root"]},
            {"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
             "users": ["autogroup:nonroot"]},
        ],
    }  # fmt: skip
    return json.dumps(NAMES | rules | {"tests": tests, "sshTests": ssh_tests} | more)


def wrong(text: str, inventory: Inventory = MESH) -> list[str]:
    return [failure.error for failure in run(read(text), inventory)]


@pytest.mark.parametrize(
    "test",
    [
        {"src": "alice@example.com", "accept": ["tag:web:80", "web:443", "100.64.0.3:443"]},
        {"src": "alice@example.com", "accept": ["[fd7a:115c:a1e0::3]:80"], "proto": "udp"},
        {"src": "bob@example.com", "deny": ["tag:web:80"], "accept": ["db:5432"]},
        {"src": "group:all", "accept": ["db:5432"], "deny": ["db:5433"]},
        {"src": "100.64.0.1", "accept": ["tag:web:80"]},
        {"src": "alice@example.com", "accept": ["alice@example.com:22"]},
        {"src": "alice@example.com", "deny": ["bob@example.com:22"]},
        {"src": "tag:new", "accept": ["tag:web:22"], "deny": ["tag:web:23"]},
        {"src": "*", "accept": ["web:7"], "deny": ["web:8"]},
        {"src": "bob@example.com", "deny": ["tag:web:99"]},
        {
            "src": "bob@example.com",
            "accept": ["tag:web:99"],
            "srcPostureAttrs": {"node:os": "macos"},
        },
        {"src": "alice@example.com", "proto": "udp", "deny": ["db:5432"]},
        {"src": "alice@example.com", "deny": ["new:5432"]},
    ],
    ids=str,
)
def test_what_the_rules_say_holds(test: Plain) -> None:
    assert wrong(policy_of(test)) == []


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ({"src": "bob@example.com", "accept": ["tag:web:80"]}, "want: Accept, got: Drop"),
        ({"src": "alice@example.com", "deny": ["tag:web:80"]}, "want: Drop, got: Accept"),
        ({"src": "group:all", "accept": ["tag:web:80"]}, "want: Accept, got: Drop"),
        ({"src": "group:all", "deny": ["tag:web:80"]}, "want: Drop, got: Accept"),
        ({"src": "alice@example.com", "proto": "udp", "accept": ["db:5432"]}, "got: Drop"),
        ({"src": "*", "accept": ["tag:web:80"]}, "want: Accept, got: Drop"),
        ({"src": "*", "deny": ["tag:web:80"]}, "want: Drop, got: Accept"),
        ({"src": "alice@example.com", "deny": ["*:80"]}, "want: Drop, got: Accept"),
        ({"src": "tag:web", "accept": ["db:443"]}, "want: Accept, got: Drop"),
        ({"src": "tag:web", "deny": ["db:443"]}, "want: Drop, got: Accept"),
        ({"src": "group:empty", "deny": ["web:1"]}, '"group:empty" is nobody'),
        ({"src": "nobody@example.com", "deny": ["web:1"]}, '"nobody@example.com" is nobody'),
        ({"src": "tag:missing", "deny": ["web:1"]}, '"tag:missing" is nobody'),
        ({"src": "ghosthost", "deny": ["web:1"]}, '"ghosthost" is nobody'),
        ({"src": "group:ghost", "deny": ["web:1"]}, '"group:ghost" is nobody'),
        ({"src": "alice@example.com", "deny": ["tag:missing:1"]}, '"tag:missing" is nobody'),
        ({"src": "alice@example.com", "deny": ["net:1"]}, "one host, not for a range"),
        ({"src": "alice@example.com", "deny": ["autogroup:self:1"]}, "no single destination"),
    ],
    ids=str,
)
def test_what_the_rules_do_not_say_fails_with_the_reason(test: Plain, error: str) -> None:
    (found,) = wrong(policy_of(test))

    assert error in found


def test_a_failure_knows_its_place() -> None:
    text = policy_of({"src": "bob@example.com", "accept": ["db:5432", "tag:web:80"]})

    with pytest.raises(TestsFailedError) as caught:
        prove(read(text), MESH)

    assert "test(s) failed" in caught.value.message
    assert caught.value.failures[0].place == Place(1, text.rindex('"tag:web:80"') + 1)


def test_a_new_tailnet_can_bring_its_tests() -> None:
    tests: list[Plain] = [
        {"src": "alice@example.com", "accept": ["tag:web:80"], "deny": ["tag:router:80"]},
        {"src": "bob@example.com", "deny": ["tag:web:80"]},
        {"src": "group:all", "accept": ["db:5432"]},
    ]
    ssh_tests: list[Plain] = [{"src": "alice@example.com", "dst": ["tag:web"], "accept": ["root"]}]

    assert wrong(policy_of(*tests, ssh_tests=ssh_tests), Inventory()) == []


@pytest.mark.parametrize(
    "test",
    [
        {"src": "alice@example.com", "dst": ["tag:web"], "accept": ["root"], "deny": ["bin"]},
        {"src": "bob@example.com", "dst": ["tag:web"], "deny": ["root", "bob"]},
        {"src": "bob@example.com", "dst": ["autogroup:self"], "check": ["bob"], "deny": ["root"]},
        {"src": "alice@example.com", "dst": ["web"], "accept": ["root"]},
        {"src": "100.64.0.1", "dst": ["tag:web"], "accept": ["root"]},
        {"src": "bob@example.com", "dst": ["autogroup:self"], "accept": ["bob"]},
    ],
    ids=str,
)
def test_what_the_ssh_rules_say_holds(test: Plain) -> None:
    assert wrong(policy_of(ssh_tests=[test])) == []


@pytest.mark.parametrize(
    ("test", "error"),
    [
        (
            {"src": "alice@example.com", "dst": ["tag:web"], "accept": ["bin"]},
            '"bin" at "tag:web": want: accept, got: deny',
        ),
        ({"src": "alice@example.com", "dst": ["tag:web"], "deny": ["root"]}, "got: accept"),
        ({"src": "alice@example.com", "dst": ["tag:web"], "check": ["root"]}, "got: accept"),
        ({"src": "group:empty", "dst": ["tag:web"], "deny": ["root"]}, "is nobody"),
        ({"src": "tag:web", "dst": ["autogroup:self"], "deny": ["root"]}, "is nobody"),
        ({"src": "alice@example.com", "dst": ["ghost"], "deny": ["root"]}, "is nobody"),
        ({"src": "alice@example.com", "dst": ["fd7a:115c:a1e0::3"], "deny": ["root"]}, "is nobody"),
    ],
    ids=str,
)
def test_what_the_ssh_rules_do_not_say_fails(test: Plain, error: str) -> None:
    (found,) = wrong(policy_of(ssh_tests=[test]))

    assert error in found
