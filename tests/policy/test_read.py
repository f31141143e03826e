"""A policy is read whole, or refused with the reason, its place and a way out."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.policies import FULL, plain, rule

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
    whole = json.loads(plain(FULL))

    assert read(json.dumps({name: whole[name] for name in order})) == read(json.dumps(whole))


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
