"""Decides about one register request. Pure: records and a request in, edits and an answer out.

The cases, in the order in which they are tried (protocol document 1.7):

    case                  known by                                answer
    too old a client      version under 113                       error
    foreign node key      node key known, other machine key       error
    logout                expiry in the past                      expired; ephemeral: deleted
    restart               node key known, not expired             the node as it is, no key used up
    expired               node key known, expired                 NodeKeyExpired: a new key follows
    tags not permitted    requested tags beyond the key's         error
    auth key              an auth key                             new node, or the user's node of
                                                                  this machine with its new key
    interactive           nothing else                            a login that somebody approves
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from gatepost.coordination.addresses import allocate, allocate_within
from gatepost.coordination.labels import label_of, unique_label
from gatepost.coordination.ledger import Decision
from gatepost.coordination.records import (
    DropNode,
    Edit,
    NodeRecord,
    PreAuthKey,
    PutKey,
    PutNode,
    Records,
    Report,
)
from gatepost.coordination.reports import report_of
from gatepost.coordination.times import seconds_of
from gatepost.errors import RefusedError
from gatepost.model.keys import MachinePublic
from gatepost.policy.document import Policy
from gatepost.policy.inventory import Machine, Member
from gatepost.policy.ownership import own_tags, pools_for
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.register import RegisterRequest

OLDEST_VERSION = 113  # capability version of the oldest client that is served (1.80, 2025-02)


@dataclass(frozen=True, slots=True)
class Joined:
    """The node is in, as this record."""

    node: NodeRecord


@dataclass(frozen=True, slots=True)
class Expired:
    """The node key is no longer valid; the client makes a new one and asks again."""


@dataclass(frozen=True, slots=True)
class LoginNeeded:
    """Somebody must approve this machine."""


Outcome = Joined | Expired | LoginNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the server and the policy grant. `key_expiry` is in seconds, None is never."""

    now: float
    key_expiry: float | None
    policy: Policy = field(default_factory=Policy)
    members: Mapping[int, Member] = field(default_factory=dict[int, Member])

    def own_tags(self, user_id: int, request: RegisterRequest) -> tuple[str, ...]:
        """Return those of the requested tags that the user may give, in their order."""
        wanted = requested_tags(request)
        owned = own_tags(self.policy, self.members, user_id, wanted) if wanted else frozenset[str]()
        return tuple(t for t in wanted if t in owned)


def decide(
    records: Records, request: RegisterRequest, machine: MachinePublic, terms: Terms
) -> Decision[Outcome]:
    """Decide about a request; raise `RefusedError` with the text that the user sees."""
    check_version(request.version)
    if request.node_key.is_zero:
        raise RefusedError("the request has no node key")
    known = records.node_by_key(request.node_key)
    if known is not None and known.machine != machine:
        raise RefusedError(f"node key {request.node_key.short} belongs to another machine")
    wanted = seconds_of(request.expiry)
    if wanted is not None and wanted <= terms.now:
        return Decision(Expired(), () if known is None else _logout(known, terms.now))
    if known is not None:
        return _known(known, request, terms)
    if request.auth is not None and request.auth.auth_key:
        key = usable_key(records, request.auth.auth_key, terms.now)
        tags = tuple(dict.fromkeys((*key.tags, *terms.own_tags(key.user_id, request))))
        check_tags(request, tags)
        return _join_by_key(records, request, machine, key, tags, terms)
    check_tags(request, tuple(terms.policy.tag_owners))  # whose they are shows at the approval
    return Decision(LoginNeeded())


def approve(
    records: Records, request: RegisterRequest, machine: MachinePublic, user: int, terms: Terms
) -> Decision[NodeRecord]:
    """Let a waiting login in as a node of `user`."""
    known = records.node_by_key(request.node_key)
    if known is not None:
        raise RefusedError(f"this machine is in already, as {known.label}")
    tags = terms.own_tags(user, request)
    check_tags(request, tags)
    owner = _Owner(user_id=user, tags=tags, ephemeral=False)
    edits = _seat(records, request, machine, owner, terms)
    return Decision(edits.node, (edits,))


def check_version(version: int) -> None:
    if version < OLDEST_VERSION:
        raise RefusedError(
            f"this client is too old (capability version {version}): "
            f"update it to 1.80 or newer (version {OLDEST_VERSION})"
        )


def usable_key(records: Records, secret: str, now: float) -> PreAuthKey:
    """Return the key with this secret; raise `RefusedError` saying why it cannot be used."""
    found = records.key_digests.get(digest_of(secret))
    if found is None:
        raise RefusedError("the auth key is not valid: ask the administrator for one")
    key = records.keys[found]
    if key.revoked:
        raise RefusedError(f"the auth key {key.prefix}… was revoked")
    if key.expires is not None and key.expires <= now:
        raise RefusedError(f"the auth key {key.prefix}… has expired: ask for a new one")
    if key.used and not key.reusable:
        raise RefusedError(f"the auth key {key.prefix}… is for one use and was used already")
    return key


def digest_of(secret: str) -> bytes:
    """Return the 32 bytes under which a secret is kept; the secret is long and random."""
    return hashlib.sha256(secret.encode()).digest()


def requested_tags(request: RegisterRequest) -> tuple[str, ...]:
    return tuple(dict.fromkeys((request.hostinfo or Hostinfo()).request_tags or ()))


def check_tags(request: RegisterRequest, granted: Collection[str]) -> None:
    """Raise `RefusedError` if the node asks for a tag that it was not given."""
    refused = sorted(set(requested_tags(request)) - set(granted))
    if refused:
        raise RefusedError(
            f"requested tags [{' '.join(refused)}] are invalid or not permitted: "
            "an auth key made with these tags gives them, or a user whom the policy's "
            "tagOwners name"
        )


def _logout(node: NodeRecord, now: float) -> tuple[Edit, ...]:
    if node.ephemeral:
        return (DropNode(node.id),)
    # Clients send 1970; peers would show that, so it ends now.
    return (PutNode(replace(node, key_expiry=now)),)


def _known(node: NodeRecord, request: RegisterRequest, terms: Terms) -> Decision[Outcome]:
    """Answer one of our node keys: a restart, the end of a login, or a wish for less time."""
    if node.key_expiry is not None and node.key_expiry <= terms.now:
        return Decision(Expired())
    wanted = seconds_of(request.expiry)
    if wanted is None:
        return Decision(Joined(node))
    if node.key_expiry is not None and wanted > node.key_expiry:
        raise RefusedError("a node cannot give itself more time: log in again to renew its key")
    shortened = replace(node, key_expiry=wanted)
    return Decision(Joined(shortened), (PutNode(shortened),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """Whose node it becomes, and how."""

    user_id: int
    tags: tuple[str, ...] = ()
    ephemeral: bool


def _join_by_key(
    records: Records,
    request: RegisterRequest,
    machine: MachinePublic,
    key: PreAuthKey,
    tags: tuple[str, ...],
    terms: Terms,
) -> Decision[Outcome]:
    owner = _Owner(user_id=key.user_id, tags=tags, ephemeral=key.ephemeral or request.ephemeral)
    put = _seat(records, request, machine, owner, terms)
    return Decision(Joined(put.node), (PutKey(replace(key, used=key.used + 1)), put))


def _seat(
    records: Records,
    request: RegisterRequest,
    machine: MachinePublic,
    owner: _Owner,
    terms: Terms,
) -> PutNode:
    """Give the owner's node on this machine its new key, or make the node."""
    expiry = _expiry(request, owner, terms)
    old = records.node_of(machine, owner.user_id)
    if old is not None:
        renewed = replace(
            old,
            key=request.node_key,
            key_expiry=expiry,
            tags=owner.tags,
            ephemeral=owner.ephemeral,
        )
        return PutNode(renewed)
    hostinfo = request.hostinfo or Hostinfo()
    new = NodeRecord(
        id=records.counters.node,
        user_id=owner.user_id,
        machine=machine,
        key=request.node_key,
        label=unique_label(label_of(hostinfo.hostname), records.labels),
        address=_address(records, owner, terms),
        tags=owner.tags,
        ephemeral=owner.ephemeral,
        created=terms.now,
        key_expiry=expiry,
    )
    report = report_of(Report(), hostinfo, version=request.version)
    return PutNode(new, replace(report, last_seen=terms.now))


def _address(records: Records, owner: _Owner, terms: Terms) -> IPv4Address:
    """Return an address from the pools of the policy; from anywhere if it has none for this."""
    number = records.counters.node
    new = Machine(id=number, name="", addresses=(), owner=owner.user_id, tags=owner.tags)
    pools = pools_for(terms.policy, terms.members, new)
    if not pools:
        return allocate(records.addresses, number)
    found = allocate_within(pools, records.addresses)
    if found is None:
        names = ", ".join(map(str, pools))
        raise RefusedError(f"all addresses of {names} are in use: make that ipPool larger")
    return found


def _expiry(request: RegisterRequest, owner: _Owner, terms: Terms) -> float | None:
    """Tagged nodes never expire; a node may ask for less than the server grants."""
    endless = owner.tags or terms.key_expiry is None
    granted = None if endless else terms.now + (terms.key_expiry or 0.0)
    wanted = seconds_of(request.expiry)
    if wanted is None:
        return granted
    return wanted if granted is None else min(wanted, granted)
