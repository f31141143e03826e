"""Resources about names: what this box's resolver knows, whom it asks, and who may ask it.

There is one resolver in a box, whoever asks it: this machine at 100.100.100.100, hosts of
the LAN, peers by HTTP. It is always there. What plugins say here decides what it answers;
`gatepost.sessions.dns_plan` joins it into one `NamePlan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar, Literal

from gatepost.model.names import NameServer
from gatepost.model.netmap import DnsRoute, IPAddress, IPNetwork
from gatepost.model.observed import Watch
from gatepost.model.resource import Merge, Resource

Host = tuple[str, tuple[IPAddress, ...]]
Rank = Literal["first", "usual", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePlan:
    """Everything that decides about a name; a value, so that a service can have it.

    `suffix` is the mesh's own. Names are in small letters without dots at their
    ends. `hosts` are full names; their first label alone means them too, if no
    other host has it. `fallback` is asked when nobody at all is named. `may_be_private`
    are suffixes whose names may lead to private addresses although nobody chose a
    server for them; "" is every name. `site_suffixes` are this site's own, about which the
    mesh may ask here, and `known_as` is what it calls the site's hosts (inside, outside).
    """

    suffix: str = ""
    hosts: tuple[Host, ...] = ()
    records: tuple[Host, ...] = ()
    routes: tuple[DnsRoute, ...] = ()
    fallback: tuple[NameServer, ...] = ()
    may_be_private: tuple[str, ...] = ()
    site_suffixes: tuple[str, ...] = ()
    known_as: tuple[tuple[IPv4Network, IPNetwork], ...] = ()

    def __str__(self) -> str:
        return f"{len(self.hosts) + len(self.records)} names, {len(self.routes)} routes"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshNames(Resource):
    """What the mesh itself says about names; there is one, or none.

    Whoever wants it takes it from `gatepost.sessions.dns_names.name_plan`, so that two
    plugins want the same.
    """

    identity: ClassVar = ()
    plan: NamePlan


@dataclass(frozen=True, slots=True)
class Record(Resource):
    """A name that this box's resolver answers itself."""

    identity: ClassVar = ("name", "address")
    merge: ClassVar = Merge.UNION
    name: str
    address: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream(Resource):
    """Whom to ask for names under a suffix ("" is every name that no longer suffix takes).

    For one suffix the servers of one rank count: `first` goes before what the mesh says
    (an exit node that answers for everything), `usual` after it, and `last` is for when
    nobody else is named (what the operator set, what this machine had before).
    """

    identity: ClassVar = ("suffix", "rank")
    suffix: str
    servers: tuple[NameServer, ...]
    rank: Rank = "usual"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateNames(Resource):
    """Names under this suffix may lead to private addresses; "" is every name."""

    identity: ClassVar = ("suffix",)
    merge: ClassVar = Merge.UNION
    suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """Who may ask at one place, and what they are told there.

    `sources` are who is answered; None is this machine itself alone. Without
    `is_mesh_known` a name of the mesh is refused. Names in `blocked`, and those under them,
    have no addresses there. `servers`, if any, are asked in place of those that the plan has
    for every name. `refuses_private`: a public name that leads to a private address, as in
    DNS rebinding, has no address. `is_for_mesh`: peers ask about this site's own names and
    nothing else, and hear the addresses by which the mesh knows its hosts.
    """

    sources: tuple[IPNetwork, ...] | None = None
    is_mesh_known: bool = True
    blocked: frozenset[str] = frozenset()
    servers: tuple[NameServer, ...] = ()
    refuses_private: bool = True
    is_for_mesh: bool = False

    def __str__(self) -> str:
        who = "this machine" if self.sources is None else ", ".join(map(str, self.sources))
        return f"answers {who}" + (f", {len(self.blocked)} names blocked" if self.blocked else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResolver(Resource):
    """Make this machine itself ask `servers`; taken back when nobody wants it any more.

    `search` are suffixes to try for short names. With `is_for_all` every name goes to
    `servers`, where the system can tell names apart; without, only those under `suffixes`
    and `search`. `spare` are asked after them by systems that can only have a list: so
    names still work while the daemon is away.
    """

    identity: ClassVar = ()
    servers: tuple[IPAddress, ...]
    search: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    is_for_all: bool = True
    spare: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServers:
    """How this machine would resolve names without us. `way` is who looks after it."""

    servers: tuple[NameServer, ...] = ()
    search: tuple[str, ...] = ()
    way: Literal["resolved", "resolvconf", "file", "none"] = "none"
    reason: str = ""  # why it cannot be changed, if `way` is "none"


@dataclass(frozen=True, slots=True)
class WatchHostServers(Watch[HostServers]):
    """How this machine resolves names without us."""
