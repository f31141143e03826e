"""What makes no sense is refused, with the reason, its place and a way out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain
from tests.policy.policies import FULL, grant, plain, rule, ssh

from gatepost.policy.read import SECTIONS, read
from gatepost.policy.refusal import PolicyRefusedError


def refusal_of(policy: Plain) -> PolicyRefusedError:
    with pytest.raises(PolicyRefusedError) as caught:
        read(policy if isinstance(policy, str) else json.dumps(policy))
    return caught.value


REFUSED: list[tuple[Plain, str]] = [
    ([], "a policy must be an object, not an array"),
    ({"rules": []}, 'unknown field: "rules"'),
    ({"acls": {}}, '"acls" must be an array, not an object'),
    ({"acls": [1]}, "a rule must be an object, not a number"),
    (rule(action="deny"), 'action="deny" is not supported'),
    (rule(action=None), 'action="" is not supported'),
    (rule(src="a@b.c"), '"src" must be an array, not a string'),
    (rule(src=[7]), "an element of src must be a string, not a number"),
    (rule(src=[""]), "empty string"),
    (rule(src=["tag:x"]), 'src=tag not found: "tag:x"'),
    (rule(src=["group:x"]), 'src=group not found: "group:x"'),
    (rule(src=["nowhere"]), 'src=host not found: "nowhere"'),
    (rule(src=["ipset:x"]), 'src=ipset not found: "ipset:x"'),
    (rule(src=["user:bob"]), 'invalid alias format: "user:bob"'),
    (rule(src=["autogroup:bogus"]), 'unknown autogroup: "autogroup:bogus"'),
    (rule(src=["autogroup:self"]), '"autogroup:self" not valid on the src side of a rule'),
    (rule(src=["autogroup:internet"]), "autogroup:internet can only be used in ACL destinations"),
    (rule(src=["autogroup:nonroot"]), '"autogroup:nonroot" not valid on the src side'),
    (rule(src=["10.0.0.9-10.0.0.1"]), 'invalid IP range "10.0.0.9-10.0.0.1"'),
    (rule(srcPosture=["posture:x"]), 'posture not found: "posture:x"'),
    (rule(srcPosture=["x"]), 'posture must start with "posture:"'),
    (rule(dst=["db"]), 'hostport must contain a colon (":")'),
    (rule(dst=["tag:x:80"]), 'dst="tag:x": tag not found: "tag:x"'),
    (rule(dst=["*:0"]), "port range \"0\": first port must be >0, or use '*' for wildcard"),
    (rule(dst=["*:65536"]), 'port range "65536": invalid first integer'),
    (rule(dst=["*:80-x"]), 'port range "80-x": invalid last integer'),
    (rule(dst=["*:90-80"]), 'port range "90-80": first port must be >= last port'),
    (rule(dst=["*:1-2-3"]), 'port range "1-2-3": too many dashes(-)'),
    (rule(dst=["*:"]), 'invalid port list: ""'),
    (rule(dst=["[10.0.0.1]:80"]), "square brackets are only valid around IPv6 addresses"),
    (rule(dst=["[db]:80"]), "square brackets are only valid around IPv6 addresses"),
    (rule(dst=["autogroup:danger-all:*"]), "cannot use autogroup:danger-all as a dst"),
    (rule(dst=["autogroup:shared:*"]), '"autogroup:shared" not valid on the dst side'),
    (rule(src=["10.0.0.1"], dst=["autogroup:self:*"]), "autogroup:self can only be used with"),
    (
        rule(src=["autogroup:tagged"], dst=["autogroup:self:*"]),
        "autogroup:self can only be used with users, groups, or supported autogroups",
    ),
    (rule(proto="*"), 'proto name "*" not known; use protocol number 0-255'),
    (rule(proto="256"), 'proto name "256" not known'),
    (rule(proto="06"), 'leading 0 not permitted in protocol number: "06"'),
    (
        rule(proto="icmp", dst=["*:80"]),
        'protocol does not support specific ports: "icmp", only "*" is allowed',
    ),
    (grant(ip=[]), "ip and app can not both be empty"),
    (grant(ip=["icmp"]), 'port range "icmp": invalid first integer'),
    (grant(ip=["a:b:c"]), "expected only one colon in Internet protocol and port type"),
    (grant(ip=[":80"]), "empty protocol"),
    (grant(ip=["bogus:80"]), 'proto name "bogus" not known'),
    (grant(dst=["0.0.0.0/0"]), 'dst "0.0.0.0/0": to allow all IP addresses, use "*" or'),
    (rule(dst=["*:80,0"]), 'port range "80,0": first port must be >0'),
    (
        rule(proto="58", dst=["*:80"]),
        'protocol does not support specific ports: "ipv6-icmp", only "*" is allowed',
    ),
    (ssh(action="check", checkPeriod=3600), 'time: missing unit in duration "3600"'),
    ({"sshTests": [{"src": "", "dst": ["a@b.c"], "deny": ["x"]}]}, "have a non-empty src"),
    (grant(dst=["::/0"]), 'dst "::/0": to allow all IP addresses, use "*" or'),
    (grant(dst=["autogroup:self"]), "autogroup:self can only be used with"),
    (grant(via=["alice@example.com"]), "via can only be a tag"),
    (grant(via=["tag:x"]), 'tag "tag:x" not found'),
    (grant(app={"x": [{}]}), "capability name must have the form {domain}/{path}"),
    (grant(app={"https://a.b/c": [{}]}), "capability name must have the form {domain}/{path}"),
    (
        grant(app={"tailscale.com/cap/drive-sharer": [{}]}),
        "capability name must not be in the tailscale.com domain",
    ),
    (grant(app={"a.b/c": {}}), 'the values of "a.b/c" must be an array'),
    (
        grant(dst=["autogroup:internet"], app={"a.b/c": [{}]}),
        "cannot use app grants with autogroup:internet",
    ),
    (ssh(action=None), "action must be specified"),
    (ssh(action="ACCEPT"), '"ACCEPT" is not a valid action'),
    (ssh(users=None), "users must be specified"),
    (ssh(users=[]), "users must be specified"),
    (ssh(users=["*"]), 'user "*" is not valid'),
    (ssh(users=[" "]), 'user "" is not valid'),
    (ssh(acceptEnv=[""]), "acceptEnv values cannot be empty"),
    (ssh(action="check", checkPeriod="abc"), 'time: invalid duration "abc"'),
    (ssh(action="check", checkPeriod="7"), 'time: missing unit in duration "7"'),
    (ssh(action="check", checkPeriod="7d"), 'time: unknown unit "d" in duration "7d"'),
    (ssh(action="check", checkPeriod="-1m"), "checkPeriod -1m0s must be a positive duration"),
    (ssh(action="check", checkPeriod="169h"), "checkPeriod 169h0m0s is above the max (168h)"),
    (ssh(checkPeriod="1h"), 'checkPeriod is only valid with action "check"'),
    (ssh(dst=["h"]), 'invalid dst "h"'),
    (ssh(dst=["*"]), 'invalid dst "*"'),
    (ssh(src=["*"]), 'invalid src "*"'),
    (ssh(src=["tag:x"]), 'tag not found: "tag:x"'),
    (ssh(dst=["autogroup:internet"]), '"autogroup:internet" not valid on the dst side'),
    (ssh(src=["tag:a"], dst=["autogroup:self"]), "tags in SSH source cannot access"),
    (ssh(src=["autogroup:tagged"], dst=["a@b.c"]), "tags in SSH source cannot access"),
    (ssh(src=["a@b.c"], dst=["d@b.c"]), "contain only that same user"),
    ({"groups": {"x": []}}, "group must start with 'group:', got: \"x\""),
    ({"groups": {"group:x": "a@b.c"}}, 'group "group:x" must be an array, not a string'),
    ({"groups": {"group:x": ["bob"]}}, 'username must contain @, got: "bob"'),
    (
        {"groups": {"group:a": ["group:b"], "group:b": ["group:a"]}},
        'groups["group:b"]: "group:a": group members cannot be recursive',
    ),
    ({"groups": {"group:a": [], "group:A": []}}, 'duplicate key "group:a"'),
    ({"tagOwners": {"x": []}}, "tag must start with 'tag:', got: \"x\""),
    (
        {"tagOwners": {"tag:1": []}},
        "tagOwners[\"tag:1\"]: tag names must start with a letter, after 'tag:'",
    ),
    ({"tagOwners": {"tag:a": ["tag:b"]}}, 'tag not found: "tag:b"'),
    ({"tagOwners": {"tag:a": ["*"]}}, 'tagOwners["tag:a"]: "*" cannot stand here'),
    ({"tagOwners": {"tag:a": ["autogroup:self"]}}, '"autogroup:self" cannot stand here'),
    ({"hosts": {"a:b": "10.0.0.1"}}, 'invalid hostname: "a:b"'),
    (
        {"hosts": {"derp": "10.0"}},
        'hostname contains invalid IP address: hostname "derp" address "10.0"',
    ),
    ({"ipsets": {"x": []}}, "ipset must start with 'ipset:'"),
    ({"ipsets": {"ipset:x": ["add tag:a"]}}, '"add tag:a" cannot stand here'),
    ({"ipsets": {"ipset:x": ["ipset:y"], "ipset:y": ["ipset:x"]}}, 'ipset "ipset:x" contains'),
    ({"postures": {"posture:x": ["node:os"]}}, 'invalid posture condition "node:os"'),
    ({"postures": {"posture:x": ["node:os == mac"]}}, "mac is not a value"),
    ({"postures": {"posture:x": ["node:os IN 'a'"]}}, "a list must follow IN"),
    ({"defaultSrcPosture": ["posture:x"]}, 'posture not found: "posture:x"'),
    ({"autoApprovers": {"routes": {"x": []}}}, '"x" is not a network'),
    ({"autoApprovers": {"exitNode": ["tag:x"]}}, 'autoApprovers: tag not found: "tag:x"'),
    ({"autoApprovers": {"bogus": []}}, 'unknown field: "bogus"'),
    ({"nodeAttrs": [{"target": ["autogroup:self"], "attr": ["x"]}]}, "internal server error"),
    ({"nodeAttrs": [{"target": ["tag:x"], "attr": ["x"]}]}, 'tag not found: "tag:x"'),
    ({"nodeAttrs": [{"target": ["*"], "attr": [""]}]}, "attr must not be empty"),
    ({"nodeAttrs": [{"target": ["*"], "ipPool": ["10.0.0.0/8"]}]}, "must be within 100.64.0.0/10"),
    ({"nodeAttrs": [{"target": ["*"], "ipPool": ["100.100.100.0/24"]}]}, "must not overlap"),
    ({"nodeAttrs": [{"target": ["*"], "ipPool": ["x"]}]}, 'ipPool "x" is not a network'),
    ({"tests": [{"src": "a@b.c"}]}, "test(s) failed: a test needs accept or deny"),
    ({"tests": [{"src": "", "accept": ["*:1"]}]}, "test(s) failed: src: empty string"),
    ({"tests": [{"src": "autogroup:x", "accept": ["*:1"]}]}, "test(s) failed: src: unknown"),
    ({"tests": [{"src": "*", "proto": "icmp", "accept": ["*:1"]}]}, "test(s) failed: a test"),
    ({"tests": [{"src": "*", "accept": ["*:1-2"]}]}, "test(s) failed: *:1-2: a test asks for one"),
    ({"tests": [{"src": "*", "accept": ["*:*"]}]}, "test(s) failed: *:*: a test asks for one"),
    ({"tests": [{"src": "*", "accept": ["10.0.0.0/8:1"]}]}, "one host, not for a range"),
    ({"tests": [{"src": "*", "accept": ["10.0.0.1/32:1"]}]}, "one host, not for a range"),
    ({"tests": [{"src": "*", "deny": ["autogroup:internet:1"]}]}, "no single destination"),
    ({"sshTests": [{"src": "a@b.c", "dst": [], "accept": ["root"]}]}, "must have at least one dst"),
    ({"sshTests": [{"src": "a@b.c", "dst": ["a@b.c"]}]}, "needs accept, deny or check"),
    ({"sshTests": [{"src": "a@b.c", "dst": ["a@b.c"], "accept": [""]}]}, "login user is empty"),
    (
        {"sshTests": [{"src": "a@b.c", "dst": ["100.64.0.0/24"], "accept": ["root"]}]},
        'SSH tests dst contains disallowed element "100.64.0.0/24"',
    ),
    (
        {"sshTests": [{"src": "a@b.c", "dst": ["tag:a:22"], "accept": ["root"]}]},
        'SSH tests dst contains unknown tag "tag:a:22"',
    ),
    ({"OneCGNATRoute": "yes"}, 'OneCGNATRoute "yes" is not known'),
    ({"disableIPv4": "yes"}, '"disableIPv4" must be true or false, not a string'),
    ({"derpMap": []}, '"derpMap" must be an object'),
]


@pytest.mark.parametrize(("policy", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_makes_no_sense_is_refused_with_its_reason(policy: Plain, message: str) -> None:
    assert message in str(refusal_of(policy))


def test_a_refusal_knows_line_column_and_a_way_out() -> None:
    refusal = refusal_of('{\n  "acls": [\n    {"action": "accept", "src": ["tag:x"], "dst": []}]}')

    assert (refusal.line, refusal.column) == (3, 34)
    assert refusal.message == 'src=tag not found: "tag:x"'
    assert str(refusal) == (
        'line 3, column 34: src=tag not found: "tag:x" (add it to tagOwners, or correct the name)'
    )
    assert not refusal.hint  # it is said in the text, and once


def test_every_mistake_is_said_at_once() -> None:
    refusal = refusal_of(
        {
            "hosts": {"a": "x"},
            "acls": [
                {"action": "drop", "src": [], "dst": []},
                {"action": "accept", "src": ["*"], "dst": ["*:0"]},
            ],
        }
    )

    assert len(refusal.problems) == 3


OBJECTS = [
    ("autoApprovers",),
    ("acls", 0),
    ("grants", 0),
    ("ssh", 0),
    ("nodeAttrs", 0),
    ("tests", 0),
    ("sshTests", 0),
    (),
]


@pytest.mark.parametrize("path", OBJECTS, ids=str)
@settings(deadline=None)
@given(name=st.text(st.characters(categories=["Ll"]), min_size=1, max_size=12))
def test_an_unknown_field_is_refused_wherever_it_stands(
    path: tuple[str | int, ...], name: str
) -> None:
    whole = json.loads(plain(FULL))
    place = whole
    for step in path:
        place = place[step]
    if name.lower() in {n.lower() for n in (*place, *SECTIONS)} | {
        "proto", "users", "ports", "src", "dst", "ip", "app", "via", "action", "allow", "user",
        "deny", "accept", "check", "attr", "target",
    }:  # fmt: skip
        return
    place[name] = []

    assert f'unknown field: "{name}"' in str(refusal_of(whole))
