"""Reads `acls`, `grants` and `nodeAttrs`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from types import MappingProxyType

from gatepost.model.netmap import IPNetwork
from gatepost.policy.document import Acl, Destination, Grant, NodeAttribute
from gatepost.policy.fields import Fields
from gatepost.policy.hujson import Items, Json, Number, Text, kind_of, pack
from gatepost.policy.names import parse_selector, selector, split_ports
from gatepost.policy.ports import parse_ports, parse_protocol, parse_traffic
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import (
    AutoGroup,
    AutoGroupSelector,
    PrefixSelector,
    Selector,
    TagSelector,
)

_POSTURE = "posture:"


def read_acl(value: Json) -> Acl:
    """Read one rule; `users` and `ports` are the names that `src` and `dst` had long ago.

    A name that begins with # is a note: the web interface of headscale keeps some there.
    """
    names = ("action", "src", "dst", "proto", "srcPosture", "users", "ports")
    fields = Fields(value, names, "a rule", notes="#")
    action = fields.text("action")
    if action != "accept":
        raise refuse(
            f'action="{action}" is not supported',
            fields.place_of("action"),
            'write "action": "accept"; what no rule accepts is denied',
        )
    sources = (*fields.texts("src"), *fields.texts("users"))
    destinations = (*fields.texts("dst"), *fields.texts("ports"))
    return Acl(
        sources=tuple(parse_selector(text) for text in sources),
        destinations=tuple(map(_destination, destinations)),
        protocol=_protocol(fields),
        postures=read_postures(fields),
        place=fields.place,
    )


def _protocol(fields: Fields) -> int | None:
    value = fields.get("proto")
    if isinstance(value, Number):
        return parse_protocol(value.literal, value.place)
    return parse_protocol(fields.text("proto"), fields.place_of("proto"))


def _destination(text: Text) -> Destination:
    words = text.text.strip()
    host, ports = split_ports(words, text.place)
    start = f'dst="{words}": '
    return Destination(
        who=selector(host, text.place, start), ports=parse_ports(ports, text.place, start)
    )


def read_grant(value: Json) -> Grant:
    fields = Fields(value, ("src", "dst", "ip", "app", "via", "srcPosture"), "a grant")
    grant = Grant(
        sources=tuple(parse_selector(text) for text in fields.texts("src")),
        destinations=tuple(parse_selector(text) for text in fields.texts("dst")),
        traffic=tuple(parse_traffic(t.text.strip(), t.place) for t in fields.texts("ip")),
        app=read_app(fields, names_checked=True),
        via=tuple(map(_via, fields.texts("via"))),
        postures=read_postures(fields),
        place=fields.place,
    )
    if not grant.traffic and not grant.app:
        raise refuse(
            "ip and app can not both be empty",
            fields.place,
            'add "ip": ["*"] for all traffic, or what it shall be',
        )
    _check_reach(grant)
    return grant


def _via(text: Text) -> TagSelector:
    words = text.text.strip()
    found = selector(words, text.place) if words.startswith("tag:") else None
    if not isinstance(found, TagSelector):
        raise refuse("via can only be a tag", text.place, "name the tag of the routers")
    return found


def _check_reach(grant: Grant) -> None:
    """Refuse destinations that a grant cannot have."""
    for who in grant.destinations:
        if isinstance(who, PrefixSelector) and who.network.prefixlen == 0:
            raise refuse(
                f'dst "{who}": to allow all IP addresses, use "*" or "autogroup:internet"',
                who.place,
                "autogroup:internet is what lies behind exit nodes",
            )
        if grant.app and _is_internet(who):
            raise refuse("cannot use app grants with autogroup:internet", who.place)


def _is_internet(who: Selector) -> bool:
    return isinstance(who, AutoGroupSelector) and who.group is AutoGroup.INTERNET


# The capabilities of Tailscale's own domain that a policy may give.
_GIVEN = frozenset({"drive", "kubernetes", "relay", "secrets", "tsidp", "webui"})


def read_app(fields: Fields, *, names_checked: bool) -> Mapping[str, tuple[str, ...]]:
    """Return capability names with their values, each as compact JSON."""
    capabilities: dict[str, tuple[str, ...]] = {}
    for member in fields.members("app"):
        name, value = member.name, member.value
        if names_checked:
            _check_capability(name)
        if not isinstance(value, Items):
            raise refuse(
                f'the values of "{name.text}" must be an array, not {kind_of(value)}',
                value.place,
                "write [{}] for none",
            )
        capabilities[name.text] = tuple(pack(item) for item in value.items)
    return MappingProxyType(capabilities)


def _check_capability(name: Text) -> None:
    domain, slash, path = name.text.partition("/")
    if "://" in name.text or not domain or not slash or not path:
        raise refuse(
            "capability name must have the form {domain}/{path}",
            name.place,
            f'"{name.text}" is none such as example.com/cap/name',
        )
    if domain.lower() != "tailscale.com":
        return
    if path.removeprefix("cap/") not in _GIVEN or not path.startswith("cap/"):
        raise refuse(
            "capability name must not be in the tailscale.com domain",
            name.place,
            "of these a grant can give " + ", ".join(sorted(_GIVEN)),
        )


def read_postures(fields: Fields) -> tuple[str, ...] | None:
    """Return the names in `srcPosture`; None if it is not there."""
    if fields.get("srcPosture") is None:
        return None
    return tuple(map(posture_name, fields.texts("srcPosture")))


def posture_name(text: Text) -> str:
    name = text.text.strip()
    if not name.startswith(_POSTURE) or name == _POSTURE:
        raise refuse(f'posture must start with "posture:", got: "{name}"', text.place)
    return name.lower()


def read_node_attribute(value: Json) -> NodeAttribute:
    fields = Fields(value, ("target", "attr", "app", "ipPool"), "an element of nodeAttrs")
    return NodeAttribute(
        targets=tuple(parse_selector(text) for text in fields.texts("target")),
        attributes=tuple(map(_attribute, fields.texts("attr"))),
        app=read_app(fields, names_checked=False),
        ip_pool=tuple(map(_pool, fields.texts("ipPool"))),
        place=fields.place,
    )


def _attribute(text: Text) -> str:
    name = text.text.strip()
    if not name:
        raise refuse("attr must not be empty", text.place, "name a node attribute")
    return name


_MESH = IPv4Network("100.64.0.0/10")
_RESERVED = tuple(map(IPv4Network, ("100.100.0.0/24", "100.100.100.0/24", "100.115.92.0/23")))


def _pool(text: Text) -> IPNetwork:
    """Read a pool; Tailscale takes only what lies in its own range and in no reserved part."""
    words = text.text.strip()
    try:
        pool = ip_network(words, strict=False)
    except ValueError as error:
        raise refuse(f'ipPool "{words}" is not a network', text.place, "100.81.0.0/16") from error
    if not isinstance(pool, IPv4Network) or not pool.subnet_of(_MESH):
        raise refuse(f'ipPool "{words}" must be within {_MESH}', text.place)
    for reserved in _RESERVED:
        if pool.overlaps(reserved):
            raise refuse(
                f'ipPool "{words}" must not overlap the reserved range {reserved}', text.place
            )
    return pool
