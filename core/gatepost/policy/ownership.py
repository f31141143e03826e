"""Who may give a tag, and from which addresses a new machine gets its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network

from gatepost.policy.directory import Directory
from gatepost.policy.document import Policy
from gatepost.policy.expand import Expander
from gatepost.policy.inventory import Inventory, Machine, Member
from gatepost.policy.selectors import TagSelector


def own_tags(
    policy: Policy, members: Mapping[int, Member], member_id: int, tags: Iterable[str]
) -> frozenset[str]:
    """Return those of the tags that a user may give to a machine.

    Owners that are tags pass their own owners on.
    """
    expander = Expander(policy, Directory.of(Inventory(members=members)))

    def owns(tag: str, seen: frozenset[str]) -> bool:
        entry = policy.tag_owners.get(tag)
        if entry is None or tag in seen:
            return False
        return any(
            owns(owner.name, seen | {tag})
            if isinstance(owner, TagSelector)
            else member_id in expander.members(owner)
            for owner in entry.owners
        )

    return frozenset(tag for tag in tags if owns(tag, frozenset()))


def pools_for(
    policy: Policy, members: Mapping[int, Member], machine: Machine
) -> tuple[IPv4Network, ...]:
    """Return the pools of `nodeAttrs` for a machine that has no address yet; () is any."""
    if not any(entry.ip_pool for entry in policy.node_attributes):
        return ()
    alone = replace(machine, addresses=())
    directory = Directory.of(Inventory(members=members, machines={machine.id: alone}))
    expander = Expander(policy, directory)
    return tuple(
        pool
        for entry in policy.node_attributes
        for pool in entry.ip_pool
        if isinstance(pool, IPv4Network)
        and any(expander.expand(s).machines >> machine.id & 1 for s in entry.targets)
    )
