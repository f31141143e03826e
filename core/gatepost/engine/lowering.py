"""Puts wishes in the kernel's terms, and after a small change only what has changed. No I/O.

`lower` says what the result is; this is how 20,000 wishes of which two are others cost the
making of the packet filter's text and nothing else worth mentioning.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from gatepost.engine.lower import FILTER_NOUNS, filter_of, lower
from gatepost.engine.merge import NOTHING, Desired
from gatepost.engine.plan import differing
from gatepost.model.guests import Guests
from gatepost.model.kernel import Route, Translate, WireGuardDevice, WireGuardPeer
from gatepost.model.keys import NodePublic
from gatepost.model.mesh import AllowedPrefix
from gatepost.model.renumber import Renumber
from gatepost.model.resource import Resource
from gatepost.model.tunnel import OnlyThroughTunnel

# What changes nothing beside its route, its peer and the packet filter.
_ALONE = (
    Route, AllowedPrefix,
    *(noun for noun in FILTER_NOUNS if noun not in {Translate, Renumber, Guests}),
)  # fmt: skip
# While there is one of these, routes depend on it.
_ABOUT_ROUTES: frozenset[type[Resource]] = frozenset((Translate, OnlyThroughTunnel))

_Prefixes = dict[Hashable, AllowedPrefix]


@dataclass(slots=True)
class Lowering:
    """The last wishes and the last result; one at a time."""

    _wishes: Desired | None = None
    _lowered: Desired = NOTHING
    _is_plain: bool = False  # no two peers have one key
    _peers: dict[NodePublic, Hashable] = field(default_factory=dict[NodePublic, Hashable])
    _prefixes: dict[NodePublic, _Prefixes] = field(default_factory=dict[NodePublic, _Prefixes])

    def lower(self, wishes: Desired) -> Desired:
        """Return what `lower` returns."""
        lowered = self._step(wishes)
        if lowered is None:
            lowered = lower(wishes)
            self._keep(wishes)
        self._wishes, self._lowered = wishes, lowered
        return lowered

    def _keep(self, wishes: Desired) -> None:
        """Note the peers and their prefixes, if the next wishes may be a step from here."""
        self._peers, self._prefixes, self._is_plain = {}, {}, True
        for key, resource in wishes.resources.items():
            if isinstance(resource, WireGuardPeer):
                self._is_plain &= resource.public_key not in self._peers
                self._peers[resource.public_key] = key
                self._prefixes.setdefault(resource.public_key, {})
            elif isinstance(resource, AllowedPrefix):
                self._prefixes.setdefault(resource.peer, {})[key] = resource

    def _step(self, wishes: Desired) -> Desired | None:
        """Return the next result; None where only everything together can say it."""
        before = self._wishes
        if before is None or not self._is_plain or self._prefixes.keys() != self._peers.keys():
            return None
        keys = differing(before.resources, wishes.resources)
        pairs = [(k, before.resources.get(k), wishes.resources.get(k)) for k in keys]
        if not all(isinstance(r, _ALONE) for _, old, new in pairs for r in (old, new) if r):
            return None
        kinds = {type(r) for r in wishes.resources.values()}
        if kinds & _ABOUT_ROUTES or WireGuardDevice not in kinds:  # with it, there is a filter
            return None
        if not _same_owners(before, wishes, keys):
            return None
        resources, owners = dict(self._lowered.resources), dict(self._lowered.owners)
        touched: set[NodePublic] = set()
        for key, old, new in pairs:
            if isinstance(old, Route) or isinstance(new, Route):
                _put(resources, owners, key, new, wishes.owners.get(key, frozenset()))
            touched |= self._move(key, old, new)
        if not touched <= self._peers.keys():
            return None  # a prefix of nobody, which is a notice
        for peer in touched:
            self._gather(peer, wishes, resources, owners)
        if any(not isinstance(r, Route) for _, old, new in pairs for r in (old, new) if r):
            self._filter(wishes, resources, owners)
        return Desired(resources, owners, wishes.watches, wishes.notices)

    def _move(self, key: Hashable, old: Resource | None, new: Resource | None) -> set[NodePublic]:
        """Note that a prefix has another peer; return those whose prefixes are others."""
        touched: set[NodePublic] = set()
        if isinstance(old, AllowedPrefix):
            self._prefixes[old.peer].pop(key, None)
            touched.add(old.peer)
        if isinstance(new, AllowedPrefix):
            self._prefixes.setdefault(new.peer, {})[key] = new
            touched.add(new.peer)
        return touched

    def _gather(
        self,
        peer: NodePublic,
        wishes: Desired,
        resources: dict[Hashable, Resource],
        owners: dict[Hashable, frozenset[str]],
    ) -> None:
        key, prefixes = self._peers[peer], self._prefixes[peer]
        wanted = wishes.resources[key]
        assert isinstance(wanted, WireGuardPeer)  # noqa: S101  # `_keep` noted only those
        allowed = wanted.allowed | {p.prefix for p in prefixes.values()}
        names = frozenset[str]().union(*(wishes.owners.get(k, ()) for k in (key, *prefixes)))
        _put(resources, owners, key, replace(wanted, allowed=allowed), names)

    def _filter(
        self,
        wishes: Desired,
        resources: dict[Hashable, Resource],
        owners: dict[Hashable, frozenset[str]],
    ) -> None:
        packet_filter, names = filter_of(wishes)
        _put(resources, owners, packet_filter.key, packet_filter, names)


def _same_owners(before: Desired, after: Desired, keys: frozenset[Hashable]) -> bool:
    """Say whether what is the same belongs to the same plugins; compares whole dictionaries."""
    owners = dict(before.owners)
    for key in keys:
        owners.pop(key, None)
        if key in after.owners:
            owners[key] = after.owners[key]
    return owners == after.owners


def _put(
    resources: dict[Hashable, Resource],
    owners: dict[Hashable, frozenset[str]],
    key: Hashable,
    new: Resource | None,
    names: frozenset[str],
) -> None:
    if new is None:
        del resources[key], owners[key]
    else:
        resources[key], owners[key] = new, names
