"""Reads the tables of names: groups, tagOwners, hosts, ipsets, postures, autoApprovers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Protocol, TypeVar

from gatepost.model.netmap import IPNetwork
from gatepost.policy.document import (
    AutoApprovers,
    Group,
    Host,
    IpSet,
    IpSetStep,
    TagOwners,
)
from gatepost.policy.fields import Fields, text_of
from gatepost.policy.hujson import Items, Json, Member, Text, kind_of
from gatepost.policy.names import numeric, parse_selector, selector
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import (
    AddressSelector,
    AutoGroup,
    AutoGroupSelector,
    GroupSelector,
    HostSelector,
    IpSetSelector,
    Place,
    PrefixSelector,
    RangeSelector,
    Selector,
    ServiceSelector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

_OPERANDS = AddressSelector | PrefixSelector | RangeSelector | HostSelector | IpSetSelector
_LETTER = re.compile(r"[A-Za-z]")


class Entry(Protocol):
    """What every table holds."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> Place: ...


T = TypeVar("T", bound=Entry)


def by_name(entries: Iterable[T]) -> Mapping[str, T]:
    """Return a table; raise `PolicyRefusedError` for a name that differs only in case."""
    table: dict[str, T] = {}
    for entry in entries:
        if entry.name in table:
            raise refuse(
                f'duplicate key "{entry.name}"', entry.place, "case does not make a difference"
            )
        table[entry.name] = entry
    return MappingProxyType(table)


def _list_of(member: Member, what: str) -> Iterator[Text]:
    """Yield the strings of a list that a table has under a name."""
    if not isinstance(member.value, Items):
        raise refuse(
            f'{what} "{member.name.text}" must be an array, not {kind_of(member.value)}',
            member.value.place,
            'write ["...", "..."]',
        )
    for item in member.value.items:
        yield text_of(item, f"an element of {member.name.text}")


def read_group(member: Member) -> Group:
    name = member.name.text.strip()
    if not name.startswith("group:") or name == "group:":
        raise refuse(
            f"group must start with 'group:', got: \"{name}\"", member.name.place, f"group:{name}"
        )
    members = tuple(_member(name, text) for text in _list_of(member, "group"))
    return Group(name=name.lower(), members=members, place=member.name.place)


def _member(group: str, text: Text) -> Selector:
    words = text.text.strip()
    if words.lower().startswith("group:"):
        raise refuse(
            f'groups["{group}"]: "{words}": group members cannot be recursive',
            text.place,
            "name its users here",
        )
    found = selector(words, text.place, f'groups["{group}"]: ')
    if not isinstance(found, UserSelector | UserWildcard):
        raise refuse(
            f'groups["{group}"]: username must contain @, got: "{words}"',
            text.place,
            "a group has users only",
        )
    return found


def tag_name(words: str, place: Place, prefix: str = "") -> str:
    """Return a tag in lower case; raise `PolicyRefusedError` for what cannot be one."""
    if not words.lower().startswith("tag:"):
        raise refuse(f"tag must start with 'tag:', got: \"{words}\"", place, f"tag:{words}")
    if not _LETTER.match(words[4:]):
        raise refuse(f"{prefix}tag names must start with a letter, after 'tag:'", place)
    return words.lower()


_OWNERS = UserSelector | UserWildcard | GroupSelector | TagSelector
_OWNER_GROUPS = frozenset(AutoGroup) - {
    AutoGroup.SELF,
    AutoGroup.INTERNET,
    AutoGroup.DANGER_ALL,
    AutoGroup.SHARED,
    AutoGroup.NON_ROOT,
}


def read_tag_owners(member: Member) -> TagOwners:
    words = member.name.text.strip()
    name = tag_name(words, member.name.place, f'tagOwners["{words}"]: ')
    owners = tuple(_owner(text, f'tagOwners["{words}"]') for text in _list_of(member, "tagOwners"))
    return TagOwners(name=name, owners=owners, place=member.name.place)


def _owner(text: Text, what: str) -> Selector:
    found = parse_selector(text, f"{what}: ")
    if isinstance(found, _OWNERS):
        return found
    if isinstance(found, AutoGroupSelector) and found.group in _OWNER_GROUPS:
        return found
    raise refuse(
        f'{what}: "{found}" cannot stand here',
        text.place,
        "name users, groups, tags or autogroups of users",
    )


def read_host(member: Member) -> Host:
    name, value = member.name.text.strip(), text_of(member.value, f"host {member.name.text}")
    if not name or "@" in name or ":" in name:
        raise refuse(f'invalid hostname: "{name}"', member.name.place, "use no @ and no colon")
    target = numeric(value.text.strip(), value.place)
    if target is None or isinstance(target, RangeSelector):
        raise refuse(
            f'hostname contains invalid IP address: hostname "{name}" address "{value.text}"',
            value.place,
            "write an address or a network",
        )
    return Host(name=name.lower(), target=target, place=member.name.place)


def read_ip_set(member: Member) -> IpSet:
    name = member.name.text.strip()
    if not name.startswith("ipset:") or name == "ipset:":
        raise refuse(f"ipset must start with 'ipset:', got: \"{name}\"", member.name.place)
    steps = tuple(_step(name, text) for text in _list_of(member, "ipset"))
    return IpSet(name=name.lower(), steps=steps, place=member.name.place)


def _step(name: str, text: Text) -> IpSetStep:
    words = text.text.strip()
    verb, _, rest = words.partition(" ")
    if verb not in {"add", "remove"}:
        verb, rest = "add", words
    found = selector(rest.strip(), text.place, f'ipsets["{name}"]: ')
    if not isinstance(found, _OPERANDS):
        raise refuse(
            f'ipsets["{name}"]: "{words}" cannot stand here',
            text.place,
            'write "add 10.0.0.0/8", "remove host:name", "ipset:name" or an address',
        )
    return IpSetStep(operand=found, remove=verb == "remove")


def read_auto_approvers(value: Json) -> AutoApprovers:
    fields = Fields(value, ("routes", "exitNode", "services"), "autoApprovers")
    routes: dict[IPNetwork, tuple[Selector, ...]] = {}
    for member in fields.members("routes"):
        network = _network(member.name)
        routes[network] = (*routes.get(network, ()), *_approvers(member))
    services = {_service(m.name): _approvers(m) for m in fields.members("services")}
    exit_node = tuple(_owner(t, "autoApprovers.exitNode") for t in fields.texts("exitNode"))
    return AutoApprovers(
        routes=MappingProxyType(routes),
        exit_node=exit_node,
        services=MappingProxyType(services),
    )


def _approvers(member: Member) -> tuple[Selector, ...]:
    return tuple(_owner(t, "autoApprovers") for t in _list_of(member, "the approvers of"))


def _network(name: Text) -> IPNetwork:
    try:
        return ip_network(name.text.strip(), strict=False)
    except ValueError as error:
        raise refuse(
            f'autoApprovers.routes: "{name.text}" is not a network',
            name.place,
            "write it like 10.0.0.0/8",
        ) from error


def _service(name: Text) -> ServiceSelector | TagSelector:
    found = parse_selector(name, "autoApprovers.services: ")
    if isinstance(found, ServiceSelector | TagSelector):
        return found
    raise refuse(
        f'autoApprovers.services: "{name.text}" is neither a service nor a tag',
        name.place,
        "write svc:name or tag:name",
    )
