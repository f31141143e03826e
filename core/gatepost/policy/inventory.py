"""What a policy is compiled against: users, machines, services, and the mesh's own switches.

These are plain values, so that the coordination server, the tests and the
preview of an edit can each make their own. A machine's id is also its bit in
the sets of `gatepost.policy.expand`, so ids should be small and dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from gatepost.model.netmap import IPAddress, IPNetwork

NOBODY = 0  # the owner of a machine that belongs to its tags only
Fact = str | bool | float


class Role(Enum):
    """What a user may administer; the values are those of `autogroup:`."""

    OWNER = "owner"
    ADMIN = "admin"
    IT_ADMIN = "it-admin"
    NETWORK_ADMIN = "network-admin"
    BILLING_ADMIN = "billing-admin"
    AUDITOR = "auditor"
    MEMBER = "member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user. `login` is what policies write: an address of e-mail, or a bare name."""

    id: int
    login: str
    role: Role = Role.MEMBER

    @property
    def domain(self) -> str:
        """What follows the last @, "" without one."""
        return self.login.rpartition("@")[2] if "@" in self.login else ""

    @property
    def local_part(self) -> str:
        return self.login.rpartition("@")[0]

    def is_called(self, login: str) -> bool:
        """Say whether a policy that writes `login` means this user ("alice@" is "alice")."""
        wanted, own = login.casefold(), self.login.casefold()
        return wanted == own or ("@" not in own and wanted == own + "@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node. `routes` are the subnets that it announces and that are approved, without exits.

    `facts` are what postures ask for ("node:os" and so on). `is_exit` means
    that a default route is announced and approved, `is_connector` that it says it
    carries traffic to apps.
    """

    id: int
    name: str
    addresses: tuple[IPAddress, ...]
    owner: int = NOBODY
    tags: tuple[str, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    is_exit: bool = False
    is_connector: bool = False
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def member(self) -> int:
        """The user whose device this is; `NOBODY` for a tagged machine."""
        return NOBODY if self.tags else self.owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service with addresses of its own; `hosts` are the ids of the machines that serve it."""

    name: str  # "svc:name"
    addresses: tuple[IPAddress, ...]
    hosts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailnet:
    """Switches of the whole mesh that show as capabilities of every node.

    `auto_update` None: the mesh says nothing about it. `base` are further
    capabilities that every node of this server has.
    """

    display_name: str = ""
    has_ssh: bool = True
    has_tailnet_lock: bool = False
    has_https: bool = False
    auto_update: bool | None = None
    base: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that a policy can name. `machines` is keyed by id."""

    members: Mapping[int, Member] = field(default_factory=lambda: MappingProxyType({}))
    machines: Mapping[int, Machine] = field(default_factory=lambda: MappingProxyType({}))
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    tailnet: Tailnet = field(default_factory=Tailnet)
