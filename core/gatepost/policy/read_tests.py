"""Reads `tests` and `sshTests`. A test that asks for no single answer counts as failed."""

from __future__ import annotations

from types import MappingProxyType

from gatepost.policy.document import AccessTest, Expectation, SshTest
from gatepost.policy.fields import Fields
from gatepost.policy.hujson import Json, Text
from gatepost.policy.names import parse_selector, selector, split_ports
from gatepost.policy.ports import WITH_PORTS, parse_ports, parse_protocol
from gatepost.policy.read_postures import read_attributes
from gatepost.policy.refusal import FAILED, PolicyRefusedError, refuse
from gatepost.policy.selectors import (
    AutoGroup,
    AutoGroupSelector,
    Place,
    PrefixSelector,
    RangeSelector,
    Selector,
)


def read_test(value: Json) -> AccessTest:
    """Read one test; `user` and `allow` are the names that `src` and `accept` had long ago."""
    names = ("src", "proto", "accept", "deny", "srcPostureAttrs", "user", "allow")
    fields = Fields(value, names, "a test")
    accept = (*fields.texts("accept"), *fields.texts("allow"))
    deny = fields.texts("deny")
    if not accept and not deny:
        raise refuse(f"{FAILED}: a test needs accept or deny", fields.place, "add one of them")
    source = fields.text("src") or fields.text("user")
    return AccessTest(
        source=_source(source, fields.place_of("src" if fields.text("src") else "user")),
        protocol=_protocol(fields),
        accept=tuple(map(_expectation, accept)),
        deny=tuple(map(_expectation, deny)),
        posture_attributes=MappingProxyType(read_attributes(fields.members("srcPostureAttrs"))),
        place=fields.place,
    )


def _source(words: str, place: Place) -> Selector:
    try:
        return selector(words, place, "src: ")
    except PolicyRefusedError as refusal:
        raise _failed(refusal) from refusal


def _failed(refusal: PolicyRefusedError) -> PolicyRefusedError:
    problem = refusal.problems[0]
    return refuse(f"{FAILED}: {problem.message}", problem.place, problem.hint)


def _protocol(fields: Fields) -> int | None:
    words, place = fields.text("proto"), fields.place_of("proto")
    try:
        protocol = parse_protocol(words, place)
    except PolicyRefusedError as refusal:
        raise _failed(refusal) from refusal
    if protocol is not None and protocol not in WITH_PORTS:
        raise refuse(
            f"{FAILED}: a test cannot ask for the protocol {words}",
            place,
            "it asks for one connection by tcp, udp or sctp",
        )
    return protocol


def _expectation(text: Text) -> Expectation:
    words = text.text.strip()
    try:
        host, ports = split_ports(words, text.place)
        who = selector(host, text.place, f'dst="{words}": ')
        asked = parse_ports(ports, text.place, f'dst="{words}": ')
    except PolicyRefusedError as refusal:
        raise _failed(refusal) from refusal
    if isinstance(who, AutoGroupSelector) and who.group is AutoGroup.INTERNET:
        raise refuse(f"{FAILED}: {words}: autogroup:internet is no single destination", text.place)
    if isinstance(who, PrefixSelector | RangeSelector):
        raise refuse(f"{FAILED}: {words}: a test asks for one host, not for a range", text.place)
    if len(asked) != 1 or asked[0].first != asked[0].last:
        raise refuse(f"{FAILED}: {words}: a test asks for one port", text.place, "write host:443")
    return Expectation(who=who, port=asked[0].first, text=words, place=text.place)


def read_ssh_test(value: Json) -> SshTest:
    """Read one SSH test; whether its destinations fit is seen when all names are known."""
    fields = Fields(
        value, ("src", "dst", "accept", "deny", "check", "srcPostureAttrs"), "an SSH test"
    )
    accept, deny, check = (fields.words(n) for n in ("accept", "deny", "check"))
    if not fields.texts("dst"):
        raise refuse(
            f"{FAILED}: SSH tests entry must have at least one dst", fields.place_of("dst")
        )
    if not fields.text("src"):
        raise refuse(f"{FAILED}: SSH tests entry must have a non-empty src", fields.place_of("src"))
    if not (accept or deny or check):
        raise refuse(f"{FAILED}: an SSH test needs accept, deny or check", fields.place)
    if "" in (*accept, *deny, *check):
        raise refuse(f"{FAILED}: the name of a login user is empty", fields.place)
    return SshTest(
        source=_source(fields.text("src"), fields.place_of("src")),
        destinations=tuple(map(_ssh_destination, fields.texts("dst"))),
        accept=accept,
        deny=deny,
        check=check,
        posture_attributes=MappingProxyType(read_attributes(fields.members("srcPostureAttrs"))),
        place=fields.place,
    )


def _ssh_destination(text: Text) -> Selector:
    try:
        return parse_selector(text, "dst: ")
    except PolicyRefusedError as refusal:
        raise _failed(refusal) from refusal
