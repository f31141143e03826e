"""Whom and what a policy names: typed selectors, each with its place in the text.

Two selectors are equal when they mean the same; where they stand and how they
were spelt does not count, so they can be keys of an expansion cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.netmap import IPNetwork

PASSKEY = "passkey"  # the "domain" of users who sign in with a passkey only


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in the policy's text; both count from 1, columns in characters."""

    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What all selectors have: the words as written, without space around them."""

    text: str = field(default="", compare=False)
    place: Place = field(default=Place(), compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Everything(Named):
    """`*`: as a source, all nodes and approved subnets; as a destination, everything."""


@dataclass(frozen=True, slots=True)
class UserSelector(Named):
    """One user by login name ("alice@example.com", or "alice@" on servers without e-mail)."""

    login: str


@dataclass(frozen=True, slots=True)
class UserWildcard(Named):
    """`user:*@domain`: every user whose login ends so; `PASSKEY` for `user:*@passkey`."""

    domain: str


@dataclass(frozen=True, slots=True)
class GroupSelector(Named):
    """`group:name`, with the prefix in `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class TagSelector(Named):
    """`tag:name`, with the prefix in `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class HostSelector(Named):
    """A name from `hosts`."""

    name: str


@dataclass(frozen=True, slots=True)
class IpSetSelector(Named):
    """`ipset:name`, with the prefix in `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class ServiceSelector(Named):
    """`svc:name`, with the prefix in `name`."""

    name: str


class AutoGroup(Enum):
    """The groups that Tailscale keeps itself; the value is what follows `autogroup:`."""

    MEMBER = "member"
    TAGGED = "tagged"
    SELF = "self"
    INTERNET = "internet"
    DANGER_ALL = "danger-all"
    SHARED = "shared"
    NON_ROOT = "nonroot"
    OWNER = "owner"
    ADMIN = "admin"
    IT_ADMIN = "it-admin"
    NETWORK_ADMIN = "network-admin"
    BILLING_ADMIN = "billing-admin"
    AUDITOR = "auditor"


ROLE_GROUPS = frozenset({
    AutoGroup.OWNER,
    AutoGroup.ADMIN,
    AutoGroup.IT_ADMIN,
    AutoGroup.NETWORK_ADMIN,
    AutoGroup.BILLING_ADMIN,
    AutoGroup.AUDITOR,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class AutoGroupSelector(Named):
    """`autogroup:name`."""

    group: AutoGroup


@dataclass(frozen=True, slots=True)
class AddressSelector(Named):
    """A single address, written without a length."""

    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class PrefixSelector(Named):
    """A network written with its length, even if that is all bits; host bits are cleared."""

    network: IPNetwork


@dataclass(frozen=True, slots=True)
class RangeSelector(Named):
    """`first-last`, both included, of one family, first not above last."""

    first: IPv4Address | IPv6Address
    last: IPv4Address | IPv6Address


Selector = (
    Everything
    | UserSelector
    | UserWildcard
    | GroupSelector
    | TagSelector
    | HostSelector
    | IpSetSelector
    | ServiceSelector
    | AutoGroupSelector
    | AddressSelector
    | PrefixSelector
    | RangeSelector
)
Numeric = AddressSelector | PrefixSelector | RangeSelector


@dataclass(frozen=True, slots=True)
class LoginName(Named):
    """A user of the machine itself, such as `root`, taken as written."""

    name: str


@dataclass(frozen=True, slots=True)
class NonRoot(Named):
    """`autogroup:nonroot`: every user of the machine but root."""


@dataclass(frozen=True, slots=True)
class LocalPart(Named):
    """`localpart:*@domain`: the part before the @ of whoever signs in, if of this domain."""

    domain: str


Login = LoginName | NonRoot | LocalPart
