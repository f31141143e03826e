"""Joins what the plugins asked for. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gatepost.engine.plugins import Owned
from gatepost.engine.texts import text_of
from gatepost.model.observed import Watch
from gatepost.model.resource import Level, Merge, Notice, Resource


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should be true, with the names of the plugins that want it."""

    resources: Mapping[Hashable, Resource]
    owners: Mapping[Hashable, frozenset[str]]
    watches: frozenset[Watch[Any]]
    notices: tuple[Notice, ...]


NOTHING = Desired(MappingProxyType({}), MappingProxyType({}), frozenset(), ())


def merge(contributions: Iterable[Owned], before: Desired = NOTHING) -> Desired:
    """Join the plugins' contributions; where they disagree, the incumbent keeps the resource.

    The incumbent is who owned the resource in `before`; with nobody there, who
    comes first in `contributions`. The other is refused and a notice names both.
    """
    resources: dict[Hashable, Resource] = {}
    owners: dict[Hashable, list[str]] = {}
    rivals: dict[Hashable, list[Owned]] = {}
    watches: set[Watch[Any]] = set()
    notices: list[Notice] = []
    for owned in contributions:
        match owned.item:
            case Notice():
                notices.append(owned.item)
            case Watch():
                watches.add(owned.item)
            case Resource() as new:
                key = new.key
                old = resources.setdefault(key, new)
                if old is new or old == new or new.merge is Merge.UNION:
                    owners.setdefault(key, []).append(owned.plugin)
                else:
                    rivals.setdefault(key, []).append(owned)
    for key, newcomers in rivals.items():
        claims = [*(Owned(p, resources[key]) for p in owners[key]), *newcomers]
        resources[key], owners[key], refusals = _settle(claims, before)
        notices += refusals
    names: dict[tuple[str, ...], frozenset[str]] = {}  # 20,000 resources have few owners
    frozen = {k: names.setdefault(tuple(v), frozenset(v)) for k, v in owners.items()}
    return Desired(resources, frozen, frozenset(watches), tuple(notices))


def _settle(claims: list[Owned], before: Desired) -> tuple[Resource, list[str], list[Notice]]:
    """Pick one of several different claims to the same resource."""
    resources = [(c.plugin, c.item) for c in claims if isinstance(c.item, Resource)]
    key = resources[0][1].key
    held, holders = before.resources.get(key), before.owners.get(key, frozenset())
    unchanged = [r for p, r in resources if p in holders and r == held]
    incumbents = [r for p, r in resources if p in holders]
    winner = [*unchanged, *incumbents, resources[0][1]][0]
    keepers = [p for p, r in resources if r == winner]
    names = " and ".join(sorted(set(keepers)))
    refusals = [
        Notice(
            "conflict",
            f"{plugin} wants {text_of(r)}, but {names} already has {text_of(winner)}: "
            f"the wish of {plugin} is refused; change the settings of one of them",
            Level.ERROR,
        )
        for plugin, r in resources
        if r != winner
    ]
    return winner, keepers, refusals
