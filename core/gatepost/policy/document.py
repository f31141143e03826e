"""The nouns of a policy, as read: immutable, names not yet looked up.

`gatepost.policy.read.read` makes them from text and refuses what does not fit;
whoever holds a `Policy` need not check again that a named group, tag, host or
IP set exists, that ports and protocols are numbers, or that lists make sense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from gatepost.model.netmap import IPNetwork
from gatepost.policy.selectors import (
    HostSelector,
    IpSetSelector,
    Login,
    Numeric,
    Place,
    Selector,
    ServiceSelector,
    TagSelector,
)

FIRST_PORT, LAST_PORT = 0, 65535


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """Ports from `first` to `last`, both included."""

    first: int = FIRST_PORT
    last: int = LAST_PORT


ANY_PORT = Ports()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One element of an ACL's `dst`: who, and on which ports."""

    who: Selector
    ports: tuple[Ports, ...] = (ANY_PORT,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One element of a grant's `ip`. `protocol` None: the default ones."""

    protocol: int | None = None
    ports: tuple[Ports, ...] = (ANY_PORT,)
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """`protocol` None: TCP, UDP and ICMP. `postures` are names with `posture:`; any suffices."""

    sources: tuple[Selector, ...] = ()
    destinations: tuple[Destination, ...] = ()
    protocol: int | None = None
    postures: tuple[str, ...] | None = None  # None: the default postures hold
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """`app` maps a capability to its values, each as compact JSON text."""

    sources: tuple[Selector, ...] = ()
    destinations: tuple[Selector, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    app: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    via: tuple[TagSelector, ...] = ()
    postures: tuple[str, ...] | None = None  # None: the default postures hold
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshRule:
    """`check_period` is in seconds, 0 for "always"; it matters for "check" only."""

    action: Literal["accept", "check"]
    sources: tuple[Selector, ...] = ()
    destinations: tuple[Selector, ...] = ()
    logins: tuple[Login, ...] = ()
    check_period: float | None = None  # None: not given
    accept_env: tuple[str, ...] = ()
    recorders: tuple[Selector, ...] = ()
    enforce_recorder: bool = False
    postures: tuple[str, ...] | None = None  # None: the default postures hold
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAttribute:
    """`app` maps a capability to its values, each as compact JSON text."""

    targets: tuple[Selector, ...] = ()
    attributes: tuple[str, ...] = ()
    app: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    ip_pool: tuple[IPNetwork, ...] = ()
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`members` are users; a group inside a group is refused."""

    name: str  # "group:name"
    members: tuple[Selector, ...] = ()  # UserSelector or UserWildcard
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagOwners:
    """Who may give a tag. Owners that are tags pass their own owners on.

    Tags may own each other in a circle, which adds nobody.
    """

    name: str  # "tag:name"
    owners: tuple[Selector, ...] = ()
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    name: str
    target: Numeric  # AddressSelector or PrefixSelector
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpSetStep:
    """Add to the set, or take away from what the steps before made."""

    operand: Numeric | HostSelector | IpSetSelector
    remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IpSet:
    name: str  # "ipset:name"
    steps: tuple[IpSetStep, ...] = ()
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One line of a posture, such as `node:tsVersion >= '1.60'`."""

    attribute: str  # "node:os"
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "IS SET", "NOT SET"]
    values: tuple[str | bool | float, ...] = ()  # one, or for IN and NOT IN several
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """A device fits if all conditions hold."""

    name: str  # "posture:name"
    conditions: tuple[Condition, ...] = ()
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoApprovers:
    """Whose advertisements are approved at once; a part of a route counts as the route."""

    routes: Mapping[IPNetwork, tuple[Selector, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    exit_node: tuple[Selector, ...] = ()
    services: Mapping[ServiceSelector | TagSelector, tuple[Selector, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One destination of a test: a single host or name, a single port."""

    who: Selector
    port: int
    text: str = field(default="", compare=False)  # as written
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTest:
    """One element of `tests`; `protocol` None asks for TCP."""

    source: Selector
    protocol: int | None = None
    accept: tuple[Expectation, ...] = ()
    deny: tuple[Expectation, ...] = ()
    posture_attributes: Mapping[str, str | bool | float] = field(
        default_factory=lambda: MappingProxyType({})
    )
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTest:
    """One element of `sshTests`: machine users who get in, who do not, who are checked first."""

    source: Selector
    destinations: tuple[Selector, ...] = ()
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    posture_attributes: Mapping[str, str | bool | float] = field(
        default_factory=lambda: MappingProxyType({})
    )
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy. `acls` and `grants` None: the section is not there.

    Mappings are keyed by the full name, prefix included.
    """

    acls: tuple[Acl, ...] | None = None
    grants: tuple[Grant, ...] | None = None
    ssh: tuple[SshRule, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=lambda: MappingProxyType({}))
    tag_owners: Mapping[str, TagOwners] = field(default_factory=lambda: MappingProxyType({}))
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({}))
    ip_sets: Mapping[str, IpSet] = field(default_factory=lambda: MappingProxyType({}))
    postures: Mapping[str, Posture] = field(default_factory=lambda: MappingProxyType({}))
    default_postures: tuple[str, ...] = ()
    auto_approvers: AutoApprovers = field(default_factory=AutoApprovers)
    node_attributes: tuple[NodeAttribute, ...] = ()
    tests: tuple[AccessTest, ...] = ()
    ssh_tests: tuple[SshTest, ...] = ()
    derp_map: str | None = None  # the JSON text of `derpMap`, in Tailscale's form
    disable_ipv4: bool = False
    randomize_client_port: bool = False
    one_cgnat_route: str = ""  # "mac-always", "mac-never" or ""
