"""Machines that stand in for names which have none yet, so that a test of them means something.

A new tailnet brings a policy with tests before its first machine. A test of
`tag:web` asks what a machine with that tag could do, whether or not there is one.
A user counts if there is one, or if the policy names them outside its tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from gatepost.policy.document import Policy
from gatepost.policy.inventory import NOBODY, Inventory, Machine, Member, Role
from gatepost.policy.mentions import mentioned
from gatepost.policy.selectors import (
    AutoGroup,
    AutoGroupSelector,
    GroupSelector,
    Selector,
    TagSelector,
    UserSelector,
)

# In the mesh, where no machine is given an address: beside the resolver's.
_FIRST_V4 = IPv4Address("100.100.100.101")
_FIRST_V6 = IPv6Address("fd7a:115c:a1e0::53:1")
MOST = 128  # stand-ins
_ROLES = {role.value: role for role in Role}


def with_stand_ins(policy: Policy, inventory: Inventory, names: Iterable[Selector]) -> Inventory:
    """Return the inventory with a machine for each of the names that means none."""
    cast = _Cast(policy, inventory)
    for name in dict.fromkeys(names):
        cast.play(name)
    return cast.inventory()


class _Cast:
    """The members and machines so far."""

    def __init__(self, policy: Policy, inventory: Inventory) -> None:
        self._policy = policy
        self._before = inventory
        self._members = dict(inventory.members)
        self._machines = dict(inventory.machines)
        self._added = 0

    def inventory(self) -> Inventory:
        if not self._added:
            return self._before
        return replace(self._before, members=self._members, machines=self._machines)

    def play(self, name: Selector) -> None:
        match name:
            case TagSelector(name=tag) if tag in self._policy.tag_owners:
                if not any(tag in m.tags for m in self._machines.values()):
                    self._add(tags=(tag,))
            case UserSelector(login=login):
                self._play_user(login)
            case GroupSelector(name=group) if group in self._policy.groups:
                for member in self._policy.groups[group].members:
                    if isinstance(member, UserSelector):
                        self._play_user(member.login)
            case AutoGroupSelector(group=AutoGroup.TAGGED):
                if not any(m.tags for m in self._machines.values()):
                    self._add(tags=("tag:",))
            case AutoGroupSelector(group=group):
                self._play_role(group)
            case _:
                pass

    def _play_user(self, login: str) -> None:
        member = next((m for m in self._members.values() if m.is_called(login)), None)
        if member is None:
            if login not in self._named():
                return
            member = self._enrol(login, Role.MEMBER)
        if not any(m.member == member.id for m in self._machines.values()):
            self._add(owner=member.id)

    def _named(self) -> set[str]:
        return {s.login for _, s in mentioned(self._policy) if isinstance(s, UserSelector)}

    def _play_role(self, group: AutoGroup) -> None:
        role = _ROLES.get(group.value)
        if role is None:
            return
        owners = set(self._of_role(role))
        if not any(m.member in owners for m in self._machines.values()):
            member = next(iter(owners), None)
            self._add(owner=self._enrol("", role).id if member is None else member)

    def _of_role(self, role: Role) -> Iterator[int]:
        return (m.id for m in self._members.values() if role in {m.role, Role.MEMBER})

    def _enrol(self, login: str, role: Role) -> Member:
        member = Member(id=max(self._members, default=NOBODY) + 1, login=login, role=role)
        self._members[member.id] = member
        return member

    def _add(self, *, owner: int = NOBODY, tags: tuple[str, ...] = ()) -> None:
        if self._added >= MOST:
            return
        machine_id = max(self._machines, default=0) + 1
        addresses = (_FIRST_V4 + self._added, _FIRST_V6 + self._added)
        self._machines[machine_id] = Machine(
            id=machine_id, name="", addresses=addresses, owner=owner, tags=tags
        )
        self._added += 1
