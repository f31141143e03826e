"""What a policy says about itself: names that are used must be there, and rules must make sense.

Messages are those of Tailscale's API where they are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatepost.policy.check_ssh import check_ssh
from gatepost.policy.document import ANY_PORT, Acl, Grant, NodeAttribute, Policy
from gatepost.policy.ports import PREFERRED, WITH_PORTS
from gatepost.policy.refusal import Complaints
from gatepost.policy.selectors import (
    ROLE_GROUPS,
    AutoGroup,
    AutoGroupSelector,
    Everything,
    GroupSelector,
    HostSelector,
    IpSetSelector,
    Place,
    Selector,
    TagSelector,
    UserSelector,
    UserWildcard,
)

_PEOPLE = frozenset({AutoGroup.MEMBER, AutoGroup.SHARED}) | ROLE_GROUPS
SOURCES = _PEOPLE | {AutoGroup.TAGGED, AutoGroup.DANGER_ALL}
DESTINATIONS = (_PEOPLE - {AutoGroup.SHARED}) | {
    AutoGroup.TAGGED,
    AutoGroup.SELF,
    AutoGroup.INTERNET,
}
TARGETS = _PEOPLE | {AutoGroup.TAGGED}
_SELF_ONLY = "autogroup:self can only be used with users, groups, or supported autogroups"


def check(policy: Policy) -> Complaints:
    """Return everything that is wrong with a policy whose parts were read well."""
    checker = Checker(policy)
    for acl in policy.acls or ():
        _check_acl(checker, acl)
    for grant in policy.grants or ():
        _check_grant(checker, grant)
    for attribute in policy.node_attributes:
        _check_attribute(checker, attribute)
    check_ssh(checker)
    _check_tables(checker)
    _check_rings(checker)
    return checker.complaints


class Checker:
    """Knows the policy's names and gathers complaints."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.complaints = Complaints.none()

    def names(self, selectors: Iterable[Selector], before: str = "") -> None:
        """Complain of names that nothing defines; `before` begins each message."""
        for selector in selectors:
            table = self._table(selector)
            if table is not None and not table[1]:
                self.complaints.add(
                    f'{before}{table[0]} not found: "{selector}"',
                    selector.place,
                    f"add it to {table[2]}, or correct the name",
                )

    def _table(self, selector: Selector) -> tuple[str, bool, str] | None:
        """Return the kind of name, whether it is there, and the section it belongs in."""
        policy = self.policy
        match selector:
            case TagSelector(name=name):
                return "tag", name in policy.tag_owners, "tagOwners"
            case GroupSelector(name=name):
                return "group", name in policy.groups or "@" in name, "groups"
            case HostSelector(name=name):
                return "host", name in policy.hosts, "hosts"
            case IpSetSelector(name=name):
                return "ipset", name in policy.ip_sets, "ipsets"
            case _:
                return None

    def postures(self, names: Iterable[str] | None, place: Place) -> None:
        for name in names or ():
            if name not in self.policy.postures:
                self.complaints.add(f'posture not found: "{name}"', place, "add it to postures")

    def sources(self, selectors: Iterable[Selector]) -> None:
        for selector in _auto_groups(selectors):
            if selector.group in SOURCES:
                continue
            hint = "use autogroup:member"
            if selector.group is AutoGroup.INTERNET:
                hint = "autogroup:internet can only be used in ACL destinations"
            self.complaints.add(
                f'"{selector}" not valid on the src side of a rule', selector.place, hint
            )

    def destinations(self, selectors: Iterable[Selector]) -> None:
        for selector in _auto_groups(selectors):
            if selector.group is AutoGroup.DANGER_ALL:
                self.complaints.add(
                    "cannot use autogroup:danger-all as a dst", selector.place, 'use "*"'
                )
            elif selector.group not in DESTINATIONS:
                self.complaints.add(
                    f'"{selector}" not valid on the dst side of a rule',
                    selector.place,
                    "name users, groups, tags, hosts or addresses",
                )


def _auto_groups(selectors: Iterable[Selector]) -> Iterator[AutoGroupSelector]:
    return (s for s in selectors if isinstance(s, AutoGroupSelector))


def _check_acl(checker: Checker, acl: Acl) -> None:
    destinations = [d.who for d in acl.destinations]
    checker.names(acl.sources, "src=")
    for who in destinations:
        checker.names([who], f'dst="{who}": ')
    checker.sources(acl.sources)
    checker.destinations(destinations)
    checker.postures(acl.postures, acl.place)
    _check_self(checker, acl.sources, destinations, everything=True)
    _check_protocol_ports(checker, acl)


def _check_protocol_ports(checker: Checker, acl: Acl) -> None:
    if acl.protocol is None or acl.protocol in WITH_PORTS:
        return
    name = PREFERRED.get(acl.protocol, str(acl.protocol))
    for destination in acl.destinations:
        if destination.ports != (ANY_PORT,):
            checker.complaints.add(
                f'protocol does not support specific ports: "{name}", only "*" is allowed',
                destination.who.place,
            )


def _check_grant(checker: Checker, grant: Grant) -> None:
    checker.names(grant.sources, "src=")
    checker.names(grant.destinations, "dst=")
    checker.sources(grant.sources)
    checker.destinations(grant.destinations)
    checker.postures(grant.postures, grant.place)
    for tag in grant.via:
        if tag.name not in checker.policy.tag_owners:
            checker.complaints.add(f'tag "{tag}" not found', tag.place, "add it to tagOwners")
    _check_self(checker, grant.sources, grant.destinations, everything=False)


def _check_self(
    checker: Checker,
    sources: Iterable[Selector],
    destinations: Iterable[Selector],
    *,
    everything: bool,
) -> None:
    """Let only people reach their own devices; `everything` is whether `*` may stand for them."""
    own = [d for d in _auto_groups(destinations) if d.group is AutoGroup.SELF]
    if own and not all(_are_people(s, everything=everything) for s in sources):
        checker.complaints.add(
            _SELF_ONLY, own[0].place, "tags, hosts and addresses have no devices of their own"
        )


def _are_people(selector: Selector, *, everything: bool) -> bool:
    match selector:
        case UserSelector() | UserWildcard() | GroupSelector():
            return True
        case AutoGroupSelector(group=group):
            return group in _PEOPLE
        case Everything():
            return everything
        case _:
            return False


def _check_attribute(checker: Checker, attribute: NodeAttribute) -> None:
    checker.names(attribute.targets, "target=")
    for target in _auto_groups(attribute.targets):
        if target.group not in TARGETS:
            checker.complaints.add(
                f'"{target}" not valid as a target of nodeAttrs',
                target.place,
                'Tailscale answers "internal server error"; use autogroup:member or a tag',
                status=500,
            )


def _check_tables(checker: Checker) -> None:
    policy = checker.policy
    for owners in policy.tag_owners.values():
        checker.names(owners.owners, f'tagOwners["{owners.name}"]: ')
    for ip_set in policy.ip_sets.values():
        checker.names([step.operand for step in ip_set.steps], f'ipsets["{ip_set.name}"]: ')
    approvers = policy.auto_approvers
    lists = (*approvers.routes.values(), approvers.exit_node, *approvers.services.values())
    for approving in lists:
        checker.names(approving, "autoApprovers: ")
    checker.names(approvers.services, "autoApprovers: ")
    checker.postures(policy.default_postures, Place())


def _check_rings(checker: Checker) -> None:
    """Refuse IP sets that are made of themselves."""
    sets = checker.policy.ip_sets
    inside = {
        name: {s.operand.name for s in ip_set.steps if isinstance(s.operand, IpSetSelector)}
        for name, ip_set in sets.items()
    }
    for name, ip_set in sets.items():
        seen: set[str] = set()
        waiting = set(inside[name])
        while waiting:
            other = waiting.pop()
            if other == name:
                checker.complaints.add(f'ipset "{name}" contains itself', ip_set.place)
                break
            if other not in seen:
                seen.add(other)
                waiting |= inside.get(other, set())
