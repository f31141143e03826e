"""From the words of a policy to typed selectors; names in lower case, since case never counts."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

from gatepost.policy.hujson import Text
from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import (
    AddressSelector,
    AutoGroup,
    AutoGroupSelector,
    Everything,
    GroupSelector,
    HostSelector,
    IpSetSelector,
    LocalPart,
    Login,
    LoginName,
    NonRoot,
    Numeric,
    Place,
    PrefixSelector,
    RangeSelector,
    Selector,
    ServiceSelector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

_AUTO = "autogroup:"
_WILDCARD = "user:*@"
_LOCAL_PART = "localpart:*@"
_BRACKETS = re.compile(r"\[([^\]]*)\](/[0-9]+)?(:.*)")
_Prefixed = type[GroupSelector | TagSelector | IpSetSelector | ServiceSelector]
_PREFIXED: dict[str, _Prefixed] = {
    "group": GroupSelector,
    "tag": TagSelector,
    "ipset": IpSetSelector,
    "svc": ServiceSelector,
}
_AUTO_GROUPS = {group.value: group for group in AutoGroup} | {"members": AutoGroup.MEMBER}


def parse_selector(text: Text, what: str = "") -> Selector:
    """Read one element of a source, destination or target; `what` begins every message."""
    return selector(text.text.strip(), text.place, what)


def selector(words: str, place: Place, what: str = "") -> Selector:
    """Read a selector's words, which have no space around them."""
    if not words:
        raise refuse(f"{what}empty string", place, "name a user, group, tag, host or address")
    if words == "*":
        return Everything(text=words, place=place)
    number = numeric(words, place)
    if number is not None:
        return number
    return _named(words, words.lower(), place, what)


def _named(words: str, name: str, place: Place, what: str) -> Selector:
    prefix, colon, rest = name.partition(":")
    if not colon:
        if "@" in name:
            return UserSelector(name, text=words, place=place)
        return HostSelector(name, text=words, place=place)
    if prefix == "autogroup":
        return _auto_group(words, name, place, what)
    if prefix == "host" and rest:
        return HostSelector(rest, text=words, place=place)
    if name.startswith(_WILDCARD) and name != _WILDCARD:
        return UserWildcard(name.removeprefix(_WILDCARD), text=words, place=place)
    if prefix in _PREFIXED and rest:
        return _PREFIXED[prefix](name, text=words, place=place)
    raise refuse(
        f'{what}invalid alias format: "{words}"',
        place,
        "write a user, group:, tag:, autogroup:, ipset:, svc:, a host, address or network",
    )


def _auto_group(words: str, name: str, place: Place, what: str) -> AutoGroupSelector:
    group = _AUTO_GROUPS.get(name.removeprefix(_AUTO))
    if group is None:
        known = ", ".join(sorted(g.value for g in AutoGroup))
        raise refuse(f'{what}unknown autogroup: "{words}"', place, f"there are {known}")
    return AutoGroupSelector(group, text=words, place=place)


def numeric(words: str, place: Place) -> Numeric | None:
    """Read an address, network or range; None if the words are none of them."""
    try:
        if "/" in words:
            return PrefixSelector(ip_network(words, strict=False), text=words, place=place)
        first, dash, last = words.partition("-")
        if dash:
            return _range(words, first.strip(), last.strip(), place)
        return AddressSelector(ip_address(words), text=words, place=place)
    except ValueError:
        return None


def _range(words: str, first: str, last: str, place: Place) -> RangeSelector:
    low, high = ip_address(first), ip_address(last)
    if low.version != high.version or int(low) > int(high):
        raise refuse(f'invalid IP range "{words}"', place, "write the lower address first")
    return RangeSelector(low, high, text=words, place=place)


def split_ports(words: str, place: Place) -> tuple[str, str]:
    """Split `host:ports` at its last colon; raise `PolicyRefusedError` if there is none.

    An IPv6 address may stand in brackets, also before a length: `[fd7a::1]/128:80`.
    """
    if words.startswith("["):
        words = _without_brackets(words, place)
    host, colon, ports = words.rpartition(":")
    if not colon:
        raise refuse(
            f'dst="{words}": hostport must contain a colon (":")', place, "write host:ports"
        )
    return host, ports


def _without_brackets(words: str, place: Place) -> str:
    found = _BRACKETS.fullmatch(words)
    if found is None or ":" not in found[1] or numeric(found[1], place) is None:
        raise refuse(
            f'square brackets are only valid around IPv6 addresses: "{words}"',
            place,
            "write [fd7a::1]:80",
        )
    return f"{found[1]}{found[2] or ''}{found[3]}"


def parse_login(text: Text) -> Login:
    """Read a user of the machine; what looks like a pattern and is none is taken as written."""
    words = text.text.strip()
    if words in {"", "*"}:
        raise refuse(
            f'user "{words}" is not valid', text.place, "name a user, or autogroup:nonroot"
        )
    if words == "autogroup:nonroot":
        return NonRoot(text=words, place=text.place)
    domain = words.removeprefix(_LOCAL_PART)
    if domain != words and domain:
        return LocalPart(domain.lower(), text=words, place=text.place)
    return LoginName(words, text=words, place=text.place)
