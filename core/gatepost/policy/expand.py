"""What a selector stands for: machines by name, and addresses written as such.

The difference matters: `tag:web` is the machines' own addresses, both families
and nothing behind them; "10.0.0.0/8" is what it says, whoever has it.
Source: protocol document 6.2 and 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from gatepost.model.netmap import MESH_V4, MESH_V6
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy
from gatepost.policy.intervals import (
    EVERYWHERE,
    NO_ADDRESSES,
    Intervals,
    number_of,
    span_of,
    text_of,
)
from gatepost.policy.inventory import Role
from gatepost.policy.selectors import (
    AddressSelector,
    AutoGroup,
    AutoGroupSelector,
    Everything,
    GroupSelector,
    HostSelector,
    IpSetSelector,
    Numeric,
    PrefixSelector,
    RangeSelector,
    Selector,
    ServiceSelector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

# The mesh without 100.115.92.0/23, which ChromeOS uses itself. Source: protocol document 6.2.
MESH_TEXTS = ("100.115.94.0-100.127.255.255", "100.64.0.0-100.115.91.255", str(MESH_V6))
MESH = Intervals.of([span_of(MESH_V4), span_of(MESH_V6)]).without(
    Intervals.of([span_of(ip_network("100.115.92.0/23"))])
)
_ROLES = {AutoGroup(role.value): role for role in Role}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """`machines` are meant by name; `addresses` by number, written in filters as `texts`."""

    machines: Machines = 0
    addresses: Intervals = NO_ADDRESSES
    texts: tuple[str, ...] = ()


NOTHING = Expansion()
_WRITTEN = (AddressSelector, PrefixSelector, RangeSelector, HostSelector, IpSetSelector)


class Expander:
    """Looks selectors up in one policy and one directory. Remembers what it found."""

    def __init__(self, policy: Policy, directory: Directory) -> None:
        self._policy = policy
        self._directory = directory
        self._found: dict[Selector, Expansion] = {}
        self._members: dict[Selector, frozenset[int]] = {}

    def take_over(self, before: Expander) -> None:
        """Keep which users and numbers were meant, as users and policy are the same."""
        self._members = before._members
        known = before._found.copy()  # in one step: a thread may look up in it meanwhile
        self._found = {s: f for s, f in known.items() if isinstance(s, _WRITTEN)}

    def expand(self, selector: Selector) -> Expansion:
        """Return what a selector stands for; `*`, as a source: the mesh and its subnets."""
        found = self._found.get(selector)
        if found is None:
            found = self._expand(selector)
            self._found[selector] = found
        return found

    def members(self, selector: Selector) -> frozenset[int]:
        """Return the ids of the users that a selector of users means; others mean none."""
        found = self._members.get(selector)
        if found is None:
            found = self._look_up(selector)
            self._members[selector] = found
        return found

    def _look_up(self, selector: Selector) -> frozenset[int]:
        members = self._directory.inventory.members.values()
        match selector:
            case UserSelector(login=login):
                return frozenset(m.id for m in members if m.is_called(login))
            case UserWildcard(domain=domain):
                return frozenset(m.id for m in members if m.domain.casefold() == domain.casefold())
            case GroupSelector(name=name):
                group = self._policy.groups.get(name)  # none: from an identity provider
                names = group.members if group else ()
                return frozenset(i for s in names for i in self.members(s))
            case AutoGroupSelector(group=AutoGroup.MEMBER):
                return frozenset(m.id for m in members)
            case AutoGroupSelector(group=group) if group in _ROLES:
                return frozenset(m.id for m in members if _has(m.role, _ROLES[group]))
            case _:
                return frozenset()

    def _expand(self, selector: Selector) -> Expansion:
        match selector:
            case Everything():
                return self._everything()
            case TagSelector(name=name):
                return Expansion(machines=self._directory.by_tag.get(name, 0))
            case UserSelector() | UserWildcard() | GroupSelector():
                return Expansion(machines=self._directory.of_members(self.members(selector)))
            case AutoGroupSelector():
                return self._auto_group(selector)
            case ServiceSelector(name=name):
                service = self._directory.inventory.services.get(name)
                addresses = service.addresses if service else ()
                spans = Intervals.of((number_of(a), number_of(a)) for a in addresses)
                return Expansion(addresses=spans, texts=tuple(map(str, addresses)))
            case _:
                written = self.addresses(selector)
                return Expansion(addresses=written, texts=tuple(map(text_of, written)))

    def _everything(self) -> Expansion:
        subnets = tuple(sorted(self._directory.carriers))
        return Expansion(
            machines=self._directory.everyone,
            addresses=MESH.union(Intervals.of(subnets)),
            texts=(*MESH_TEXTS, *map(text_of, subnets)),
        )

    def _auto_group(self, selector: AutoGroupSelector) -> Expansion:
        match selector.group:
            case AutoGroup.MEMBER:
                return Expansion(machines=self._directory.personal)
            case AutoGroup.TAGGED:
                return Expansion(machines=self._directory.tagged)
            case AutoGroup.DANGER_ALL:
                return Expansion(
                    machines=self._directory.everyone, addresses=EVERYWHERE, texts=("*",)
                )
            case AutoGroup.SELF | AutoGroup.INTERNET | AutoGroup.SHARED | AutoGroup.NON_ROOT:
                return NOTHING  # places, not machines; nothing is shared into a mesh of our own
            case _:
                return Expansion(machines=self._directory.of_members(self.members(selector)))

    def addresses(self, selector: Numeric | HostSelector | IpSetSelector) -> Intervals:
        """Return the addresses that are written in the policy under a name or as a number."""
        match selector:
            case AddressSelector(address=address):
                return Intervals.of([(number_of(address), number_of(address))])
            case PrefixSelector(network=network):
                return Intervals.of([span_of(network)])
            case RangeSelector(first=first, last=last):
                return Intervals.of([(number_of(first), number_of(last))])
            case HostSelector(name=name):
                return self.addresses(self._policy.hosts[name].target)
            case IpSetSelector(name=name):
                made = Intervals()
                for step in self._policy.ip_sets[name].steps:
                    part = self.addresses(step.operand)
                    made = made.without(part) if step.remove else made.union(part)
                return made


def _has(role: Role, wanted: Role) -> bool:
    """Say whether a role counts as another: the owner is an administrator too."""
    return role is wanted or (wanted is Role.ADMIN and role is Role.OWNER)
