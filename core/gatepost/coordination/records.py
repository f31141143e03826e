"""What the database keeps, as frozen values, and the edits that change it.

`Records` is one immutable snapshot with its indexes. Copying a dictionary of
2,000 entries takes some ten microseconds, so an edit copies only the
dictionaries it changes and nothing cleverer is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypeVar

from gatepost.coordination.addresses import ipv6_of
from gatepost.model.admin_names import NamesDocument
from gatepost.model.keys import DiscoPublic, MachinePublic, NodePublic
from gatepost.model.netmap import IPNetwork
from gatepost.model.route_choice import ANY_ROUTE, RouteChoice
from gatepost.wire.hostinfo import Hostinfo

NOBODY = 0  # the user id of a node that belongs to its tags only

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: int
    name: str  # login name, unique
    display_name: str = ""
    created: float  # seconds since 1970
    role: str = "member"  # one of `gatepost.policy.inventory.Role`


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version of the policy, as somebody saved it. The newest is in force."""

    id: int  # counts up from 1
    text: str  # HuJSON, byte for byte
    author: str
    created: float  # seconds since 1970
    note: str = ""  # why, in the author's words or ours


@dataclass(frozen=True, slots=True, kw_only=True)
class PreAuthKey:
    """A key that lets machines in without a person. The secret itself is not kept."""

    id: int
    user_id: int  # NOBODY: only the tags own the node
    digest: bytes  # 32 bytes, SHA-256 of the secret
    prefix: str  # the first characters of the secret, to tell keys apart
    reusable: bool = False
    ephemeral: bool = False
    tags: tuple[str, ...] = ()
    created: float
    expires: float | None = None
    used: int = 0
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What was decided about a node: by its registration and by the administrator.

    `renamed` means that a person chose the label and the host name no longer counts.
    """

    id: int
    user_id: int
    machine: MachinePublic
    key: NodePublic
    label: str
    renamed: bool = False
    address: IPv4Address
    tags: tuple[str, ...] = ()
    ephemeral: bool = False
    created: float
    key_expiry: float | None = None  # None: never
    approved_routes: tuple[IPNetwork, ...] = ()
    accepts: RouteChoice = ANY_ROUTE  # of what others carry, it is shown no more than this
    preferred_routes: tuple[IPNetwork, ...] = ()  # that it carries while it can

    @property
    def addresses(self) -> tuple[IPv4Address, IPv6Address]:
        return self.address, ipv6_of(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a node last said about itself; kept so that a restart forgets nothing."""

    hostinfo: Hostinfo = field(default_factory=Hostinfo)
    routes: tuple[IPNetwork, ...] = ()  # `hostinfo.routable_ips`, parsed
    endpoints: tuple[str, ...] = ()  # "address:port"
    disco: DiscoPublic | None = None
    version: int = 0  # capability version
    last_seen: float | None = None

    @property
    def home_derp(self) -> int:
        """The region id, 0 while unknown."""
        return self.hostinfo.net_info.preferred_derp if self.hostinfo.net_info else 0


@dataclass(frozen=True, slots=True)
class PutUser:
    user: User


@dataclass(frozen=True, slots=True)
class PutKey:
    key: PreAuthKey


@dataclass(frozen=True, slots=True)
class PutNode:
    """Make or change a node; a new one may bring what it reports."""

    node: NodeRecord
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class DropUser:
    """The user's nodes and keys must be gone before."""

    id: int


@dataclass(frozen=True, slots=True)
class DropKey:
    id: int


@dataclass(frozen=True, slots=True)
class DropNode:
    id: int


@dataclass(frozen=True, slots=True)
class PutPolicy:
    """Bring a new version into force; the older ones stay in the database."""

    policy: PolicyVersion


@dataclass(frozen=True, slots=True)
class PutNames:
    """Tell nodes this about names."""

    names: NamesDocument


Edit = PutUser | PutKey | PutNode | PutPolicy | PutNames | DropUser | DropKey | DropNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The next ids. An id is never used again, because clients remember it."""

    user: int = 1
    key: int = 1
    node: int = 1
    policy: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that was decided. `nodes` is sorted by id; `policy` None: never set."""

    users: Mapping[int, User] = field(default_factory=lambda: MappingProxyType({}))
    keys: Mapping[int, PreAuthKey] = field(default_factory=lambda: MappingProxyType({}))
    nodes: Mapping[int, NodeRecord] = field(default_factory=lambda: MappingProxyType({}))
    counters: Counters = field(default_factory=Counters)
    policy: PolicyVersion | None = None
    names: NamesDocument = field(default_factory=NamesDocument)
    user_names: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    key_digests: Mapping[bytes, int] = field(default_factory=lambda: MappingProxyType({}))
    node_keys: Mapping[NodePublic, int] = field(default_factory=lambda: MappingProxyType({}))
    owners: Mapping[tuple[MachinePublic, int], int] = field(
        default_factory=lambda: MappingProxyType({})
    )
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    addresses: Mapping[IPv4Address, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(
        cls,
        users: Iterable[User],
        keys: Iterable[PreAuthKey],
        nodes: Iterable[NodeRecord],
        counters: Counters,
        policy: PolicyVersion | None = None,
        names: NamesDocument | None = None,
    ) -> Records:
        """Return the records with all indexes built at once."""
        by_id = {n.id: n for n in sorted(nodes, key=lambda n: n.id)}
        user_map, key_map = {u.id: u for u in users}, {k.id: k for k in keys}
        return cls(
            users=user_map,
            keys=key_map,
            nodes=by_id,
            counters=counters,
            policy=policy,
            names=names or NamesDocument(),
            user_names={u.name: i for i, u in user_map.items()},
            key_digests={k.digest: i for i, k in key_map.items()},
            node_keys={n.key: i for i, n in by_id.items()},
            owners={(n.machine, n.user_id): i for i, n in by_id.items()},
            labels={n.label: i for i, n in by_id.items()},
            addresses={n.address: i for i, n in by_id.items()},
        )

    def node_by_key(self, key: NodePublic) -> NodeRecord | None:
        found = self.node_keys.get(key)
        return None if found is None else self.nodes[found]

    def node_of(self, machine: MachinePublic, user_id: int) -> NodeRecord | None:
        """Return the node that this user has on this machine."""
        found = self.owners.get((machine, user_id))
        return None if found is None else self.nodes[found]

    def after(self, edits: Iterable[Edit]) -> Records:
        """Return the records with the edits made, in their order."""
        records = self
        for edit in edits:
            records = _edited(records, edit)
        return records


def _edited(records: Records, edit: Edit) -> Records:
    match edit:
        case PutUser(user):
            return _put_user(records, user)
        case PutKey(key):
            return replace(
                records,
                keys=_with(records.keys, key.id, key),
                key_digests=_with(records.key_digests, key.digest, key.id),
                counters=replace(records.counters, key=max(records.counters.key, key.id + 1)),
            )
        case PutNode(node=node):
            return _put_node(records, node)
        case PutPolicy(policy):
            after = max(records.counters.policy, policy.id + 1)
            return replace(records, policy=policy, counters=replace(records.counters, policy=after))
        case PutNames(names):
            return replace(records, names=names)
        case DropUser() | DropKey() | DropNode():
            return _dropped(records, edit)


def _dropped(records: Records, edit: DropUser | DropKey | DropNode) -> Records:
    match edit:
        case DropUser(id=user_id):
            return replace(
                records,
                users=_without(records.users, user_id),
                user_names=_without(records.user_names, records.users[user_id].name),
            )
        case DropKey(id=key_id):
            return replace(
                records,
                keys=_without(records.keys, key_id),
                key_digests=_without(records.key_digests, records.keys[key_id].digest),
            )
        case DropNode(id=node_id):
            return _drop_node(records, records.nodes[node_id])


def _put_user(records: Records, user: User) -> Records:
    names = records.user_names
    if (old := records.users.get(user.id)) is not None and old.name != user.name:
        names = _without(names, old.name)
    return replace(
        records,
        users=_with(records.users, user.id, user),
        user_names=_with(names, user.name, user.id),
        counters=replace(records.counters, user=max(records.counters.user, user.id + 1)),
    )


def _put_node(records: Records, node: NodeRecord) -> Records:
    old = records.nodes.get(node.id)
    if old is None:
        return replace(
            records,
            nodes=_with(records.nodes, node.id, node),
            node_keys=_with(records.node_keys, node.key, node.id),
            owners=_with(records.owners, (node.machine, node.user_id), node.id),
            labels=_with(records.labels, node.label, node.id),
            addresses=_with(records.addresses, node.address, node.id),
            counters=replace(records.counters, node=max(records.counters.node, node.id + 1)),
        )
    return replace(
        records,
        nodes=_with(records.nodes, node.id, node),
        node_keys=_moved(records.node_keys, old.key, node.key, node.id),
        owners=_moved(
            records.owners, (old.machine, old.user_id), (node.machine, node.user_id), node.id
        ),
        labels=_moved(records.labels, old.label, node.label, node.id),
        addresses=_moved(records.addresses, old.address, node.address, node.id),
    )


def _drop_node(records: Records, node: NodeRecord) -> Records:
    return replace(
        records,
        nodes=_without(records.nodes, node.id),
        node_keys=_without(records.node_keys, node.key),
        owners=_without(records.owners, (node.machine, node.user_id)),
        labels=_without(records.labels, node.label),
        addresses=_without(records.addresses, node.address),
    )


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    copy = dict(mapping)
    copy[key] = value
    return copy


def _without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    copy = dict(mapping)
    del copy[key]
    return copy


def _moved(mapping: Mapping[K, int], old: K, new: K, value: int) -> Mapping[K, int]:
    """Move an index entry; an unchanged one costs nothing."""
    if old == new:
        return mapping
    copy = dict(mapping)
    del copy[old]
    copy[new] = value
    return copy
