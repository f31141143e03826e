"""A policy is read whole, or refused with the reason, its place and a way out."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain

from gatepost.policy.document import (
    ANY_PORT,
    Acl,
    Condition,
    Destination,
    Grant,
    IpSetStep,
    Ports,
    SshRule,
    Traffic,
)
from gatepost.policy.read import SECTIONS, read
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.policy.selectors import (
    PASSKEY,
    AddressSelector,
    AutoGroup,
    AutoGroupSelector,
    Everything,
    GroupSelector,
    HostSelector,
    IpSetSelector,
    LocalPart,
    LoginName,
    NonRoot,
    PrefixSelector,
    RangeSelector,
    ServiceSelector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

FULL = """{
  // who
  "groups": {"group:eng": ["alice@example.com", "Bob@Example.com", "user:*@example.com"]},
  "tagOwners": {"tag:web": ["group:eng", "autogroup:admin"], "tag:router": ["tag:web"]},
  "hosts": {"db": "10.1.0.5", "office": "192.168.1.0/24"},
  "ipsets": {"ipset:prod": ["add 10.0.0.0/8", "remove host:db", "10.9.0.1-10.9.0.9"]},
  "postures": {"posture:good": ["node:os IN ['macos', \\"linux\\"]", "node:tsVersion >= '1.60'",
                                "custom:tier IS SET", "custom:score > 3"]},
  "defaultSrcPosture": ["posture:good"],
  "acls": [
    {"action": "accept", "src": ["group:eng", "*"], "dst": ["tag:web:80,443", "db:5432",
      "[fd7a:115c:a1e0::1]:22", "10.0.0.0/8:*", "ipset:prod:8000-8080", "svc:shop:443"]},
    {"action": "accept", "proto": "icmp", "src": ["user:*@passkey"], "dst": ["office:*"],
     "srcPosture": ["posture:good"]},
  ],
  "grants": [
    {"src": ["alice@example.com"], "dst": ["autogroup:internet"], "via": ["tag:router"],
     "ip": ["*", "443", "udp:53", "gre:*"]},
    {"src": ["autogroup:member"], "dst": ["tag:web"], "app": {"example.com/cap/x": [{"a": 1e3}]}},
  ],
  "ssh": [
    {"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
     "users": ["autogroup:nonroot", "root", "localpart:*@example.com"], "checkPeriod": "1h30m",
     "acceptEnv": ["GIT_*"], "recorder": ["tag:web"], "enforceRecorder": true},
  ],
  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:router"]}, "exitNode": ["tag:router"],
                    "services": {"svc:shop": ["tag:web"]}},
  "nodeAttrs": [{"target": ["autogroup:admin"], "attr": ["funnel"], "ipPool": ["100.81.0.0/16"]}],
  "tests": [{"src": "alice@example.com", "accept": ["db:5432"], "deny": ["tag:web:22"]}],
  "sshTests": [{"src": "alice@example.com", "dst": ["tag:web"], "deny": ["root"]}],
  "derpMap": {"OmitDefaultRegions": true}, "disableIPv4": true, "randomizeClientPort": true,
  "OneCGNATRoute": "mac-always",
}"""


def refusal_of(policy: Plain) -> PolicyRefusedError:
    with pytest.raises(PolicyRefusedError) as caught:
        read(policy if isinstance(policy, str) else json.dumps(policy))
    return caught.value


def rule(**changes: Plain) -> dict[str, Plain]:
    return {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"], **changes}]}


def grant(**changes: Plain) -> dict[str, Plain]:
    return {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], **changes}]}


def ssh(**changes: Plain) -> dict[str, Plain]:
    known: dict[str, Plain] = {"tagOwners": {"tag:a": []}, "hosts": {"h": "10.0.0.1"}}
    usual: dict[str, Plain] = {
        "action": "accept",
        "src": ["autogroup:member"],
        "dst": ["tag:a"],
        "users": ["root"],
    }
    return known | {"ssh": [usual | changes]}


def test_every_section_is_read() -> None:
    policy = read(FULL)

    assert policy.groups["group:eng"].members == (
        UserSelector("alice@example.com"),
        UserSelector("bob@example.com"),
        UserWildcard("example.com"),
    )
    assert policy.tag_owners["tag:web"].owners == (
        GroupSelector("group:eng"),
        AutoGroupSelector(AutoGroup.ADMIN),
    )
    assert policy.hosts["db"].target == AddressSelector(ip_address("10.1.0.5"))
    assert policy.ip_sets["ipset:prod"].steps == (
        IpSetStep(operand=PrefixSelector(ip_network("10.0.0.0/8"))),
        IpSetStep(operand=HostSelector("db"), remove=True),
        IpSetStep(operand=RangeSelector(ip_address("10.9.0.1"), ip_address("10.9.0.9"))),
    )
    assert policy.postures["posture:good"].conditions == (
        Condition(attribute="node:os", operator="IN", values=("macos", "linux")),
        Condition(attribute="node:tsVersion", operator=">=", values=("1.60",)),
        Condition(attribute="custom:tier", operator="IS SET"),
        Condition(attribute="custom:score", operator=">", values=(3.0,)),
    )
    assert policy.default_postures == ("posture:good",)
    assert policy.auto_approvers.routes == {ip_network("10.0.0.0/8"): (TagSelector("tag:router"),)}
    assert policy.auto_approvers.services == {
        ServiceSelector("svc:shop"): (TagSelector("tag:web"),)
    }
    assert policy.node_attributes[0].ip_pool == (ip_network("100.81.0.0/16"),)
    assert policy.tests[0].accept[0].port == 5432
    assert policy.ssh_tests[0].deny == ("root",)
    assert policy.derp_map == '{"OmitDefaultRegions":true}'
    assert (policy.disable_ipv4, policy.randomize_client_port) == (True, True)
    assert policy.one_cgnat_route == "mac-always"


def test_acls_are_read_to_selectors_ports_and_protocols() -> None:
    policy = read(FULL)

    assert policy.acls == (
        Acl(
            sources=(GroupSelector("group:eng"), Everything()),
            destinations=(
                Destination(who=TagSelector("tag:web"), ports=(Ports(80, 80), Ports(443, 443))),
                Destination(who=HostSelector("db"), ports=(Ports(5432, 5432),)),
                Destination(
                    who=AddressSelector(ip_address("fd7a:115c:a1e0::1")), ports=(Ports(22, 22),)
                ),
                Destination(who=PrefixSelector(ip_network("10.0.0.0/8"))),
                Destination(who=IpSetSelector("ipset:prod"), ports=(Ports(8000, 8080),)),
                Destination(who=ServiceSelector("svc:shop"), ports=(Ports(443, 443),)),
            ),
        ),
        Acl(
            sources=(UserWildcard(PASSKEY),),
            destinations=(Destination(who=HostSelector("office")),),
            protocol=1,
            postures=("posture:good",),
        ),
    )


def test_grants_and_ssh_rules_are_read() -> None:
    policy = read(FULL)

    assert policy.grants == (
        Grant(
            sources=(UserSelector("alice@example.com"),),
            destinations=(AutoGroupSelector(AutoGroup.INTERNET),),
            traffic=(
                Traffic(),
                Traffic(ports=(Ports(443, 443),)),
                Traffic(protocol=17, ports=(Ports(53, 53),)),
                Traffic(protocol=47, ports=(ANY_PORT,)),
            ),
            via=(TagSelector("tag:router"),),
        ),
        Grant(
            sources=(AutoGroupSelector(AutoGroup.MEMBER),),
            destinations=(TagSelector("tag:web"),),
            app={"example.com/cap/x": ('{"a":1e3}',)},
        ),
    )
    assert policy.ssh == (
        SshRule(
            action="check",
            sources=(AutoGroupSelector(AutoGroup.MEMBER),),
            destinations=(AutoGroupSelector(AutoGroup.SELF),),
            logins=(NonRoot(), LoginName("root"), LocalPart("example.com")),
            check_period=5400.0,
            accept_env=("GIT_*",),
            recorders=(TagSelector("tag:web"),),
            enforce_recorder=True,
        ),
    )


def test_a_section_that_is_missing_differs_from_an_empty_one() -> None:
    assert (read("{}").acls, read('{"acls": []}').acls) == (None, ())
    assert read('{"acls": null, "Grants": []}').grants == ()


@settings(deadline=None)
@given(st.permutations(SECTIONS))
def test_the_order_of_sections_means_nothing(order: list[str]) -> None:
    whole = json.loads(_plain(FULL))

    assert read(json.dumps({name: whole[name] for name in order})) == read(json.dumps(whole))


def _plain(text: str) -> str:
    from gatepost.policy.hujson import pack, parse  # noqa: PLC0415  # only here

    return pack(parse(text))


def test_notes_of_headscales_web_interface_are_skipped() -> None:
    noted = read('{"acls": [{"#ha-meta": {"name": "x"}, "action": "accept", "src": ["*"]}]}')

    assert noted == read('{"acls": [{"action": "accept", "src": ["*"]}]}')


def test_names_are_compared_without_case() -> None:
    policy = read(
        '{"Hosts": {"DB": "10.0.0.1"}, "TAGOWNERS": {"tag:Web": []},'
        ' "ACLs": [{"Action": "accept", "Src": ["tag:WEB"], "DST": ["Db:1"]}]}'
    )

    assert policy.acls is not None
    assert policy.acls[0].sources == (TagSelector("tag:web"),)


def test_space_around_names_means_nothing() -> None:
    policy = read(json.dumps(rule(src=[" alice@example.com "])))

    assert policy.acls is not None
    assert policy.acls[0].sources == (UserSelector("alice@example.com"),)


def test_the_old_names_of_fields_still_work() -> None:
    old = read('{"acls": [{"action": "accept", "users": ["*"], "ports": ["*:22"]}]}')

    assert old == read('{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}]}')


# --- refusals ----------------------------------------------------------------

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
    assert refusal.hint == "add it to tagOwners, or correct the name"
    assert str(refusal).startswith("line 3, column 34: ")


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
    whole = json.loads(_plain(FULL))
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
