"""Resources and changes in words, the same in notices, `gatepost plan` and `gatepost explain`."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import MISSING, fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import FunctionType
from typing import cast

from gatepost.model.kernel import MapEntry, PacketFilter
from gatepost.model.keys import Key
from gatepost.model.netmap import AddressRange, Endpoint, FilterRule, PortRange
from gatepost.model.resource import Change, Resource

_LONGEST_LIST = 6  # items shown of a list


def kind_of(resource: Resource) -> str:
    return type(resource).__name__


def text_of(resource: Resource) -> str:
    """Say in one line what should be true, beginning with the noun."""
    return f"{kind_of(resource)} {value_text(resource)}"


def value_text(resource: Resource) -> str:
    """Say what is behind the noun; what has its default value is left out."""
    if isinstance(resource, PacketFilter):
        return f"{resource.table} ({resource.text.count(chr(10))} lines)"
    identity, rest = list[str](), list[str]()
    for field in fields(resource):
        value: object = getattr(resource, field.name)
        if field.name in resource.identity:
            identity.append(_value(value))
        elif field.default is MISSING or value != field.default:
            rest.append(f"{field.name.replace('_', '-')} {_value(value)}")
    return ", ".join([" ".join(identity), *rest] if identity else rest)


def change_text(change: Change) -> str:
    """Say in one line what a step is about, with the old value where it replaces one."""
    match change.old, change.new:
        case PacketFilter() as old, PacketFilter() as new:
            return f"{value_text(new)}: {_difference(old.text, new.text)}"
        case Resource() as old, Resource() as new:
            return f"{value_text(new)} (was: {value_text(old)})"
        case _, Resource() as new:
            return value_text(new)
        case Resource() as old, _:
            return value_text(old)
        case _:
            return str(change.key)


def _difference(old: str, new: str) -> str:
    lines = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    added = sum(line.startswith("+ ") for line in lines)
    removed = sum(line.startswith("- ") for line in lines)
    return f"{added} lines more, {removed} lines less"


def _value(value: object) -> str:
    match value:
        case Key():
            return value.short
        case IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network() | Endpoint():
            return str(value)
        case FilterRule():
            return _rule(value)
        case MapEntry():
            return f"{value.map}[{value.key.hex()}] {value.value.hex()}"
        case tuple() | frozenset():
            return _list(cast(Collection[object], value))  # what is inside is told apart there
        case _:
            return value.__qualname__ if isinstance(value, FunctionType) else str(value)


def _list(values: Collection[object]) -> str:
    texts = [_value(v) for v in values]
    if isinstance(values, frozenset):
        texts.sort()
    more = f" and {len(texts) - _LONGEST_LIST} more" if len(texts) > _LONGEST_LIST else ""
    return ", ".join(texts[:_LONGEST_LIST]) + more if texts else "nothing"


def _rule(rule: FilterRule) -> str:
    sources = _list([_range(r) for r in rule.sources])
    targets = _list([_range(r) + _ports(p) for r, p in rule.destinations])
    protocols = f" protocols {_list(rule.protocols)}" if rule.protocols else ""
    return f"from {sources} to {targets}{protocols}"


def _range(value: AddressRange) -> str:
    if value.first == value.last:
        return str(value.first)
    return f"{value.first}-{value.last}"


def _ports(value: PortRange) -> str:
    if value.is_any:
        return ""
    return (
        f" port {value.first}"
        if value.first == value.last
        else f" ports {value.first}-{value.last}"
    )
