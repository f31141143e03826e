"""What a policy says that is allowed and hardly meant.

    unknown-user    a name of a user whom this mesh does not have
    matches-nobody  a rule whose sources or destinations are nobody now
    shadowed        a rule that an earlier one says already
    unused          a group, host or IP set that no rule names
    synced-group    a group that an identity provider would fill, and none does

"Shadowed" is said only where it is certain: the earlier rule names at least
the same sources, destinations, ports and protocol, and asks for no posture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

from gatepost.policy.compiled import Compiled
from gatepost.policy.document import Acl, Grant, Policy, Ports, SshRule
from gatepost.policy.mentions import mentioned, tested
from gatepost.policy.refusal import Warned
from gatepost.policy.rules import Kind
from gatepost.policy.selectors import (
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

_STAR = Everything()
_ALWAYS = {Kind.SELF, Kind.INTERNET, Kind.ANYTHING}


def warnings(compiled: Compiled) -> tuple[Warned, ...]:
    """Return everything worth a warning, in the order of the text."""
    found = (
        *_unknown_users(compiled),
        *_nobody(compiled),
        *_shadowed(compiled.policy),
        *_unused(compiled.policy),
    )
    return tuple(sorted(set(found), key=lambda w: (w.place, w.code, w.message)))


def _unknown_users(compiled: Compiled) -> Iterator[Warned]:
    members = compiled.directory.inventory.members.values()
    seen: set[Selector] = set()
    for _, name in mentioned(compiled.policy):
        if name in seen:
            continue
        seen.add(name)
        if isinstance(name, UserSelector) and not any(m.is_called(name.login) for m in members):
            yield Warned("unknown-user", f'there is no user "{name}"', name.place)
        if isinstance(name, GroupSelector) and "@" in name.name:
            message = f'"{name}" would come from an identity provider; nobody is in it'
            yield Warned("synced-group", message, name.place)


def _nobody(compiled: Compiled) -> Iterator[Warned]:
    policy = compiled.policy
    for kind, rule in _rules(policy):
        if not any(_is_source(compiled, s) for s in rule.sources):
            yield Warned("matches-nobody", f"{kind}: its sources are nobody now", rule.place)
        elif not any(_is_target(compiled, d) for d in _destinations(rule)):
            message = f"{kind}: its destinations are nobody now"
            yield Warned("matches-nobody", message, rule.place)


def _rules(policy: Policy) -> Iterator[tuple[str, Acl | Grant | SshRule]]:
    yield from (("a rule", acl) for acl in policy.acls or ())
    yield from (("a grant", grant) for grant in policy.grants or ())
    yield from (("an SSH rule", rule) for rule in policy.ssh)


def _destinations(rule: Acl | Grant | SshRule) -> tuple[Selector, ...]:
    if isinstance(rule, Acl):
        return tuple(d.who for d in rule.destinations)
    return rule.destinations


def _is_source(compiled: Compiled, name: Selector) -> bool:
    part = compiled.expander.expand(name)
    return bool(part.machines or part.texts)


def _is_target(compiled: Compiled, name: Selector) -> bool:
    target = compiled.compiler.target(name)
    return target.kind in _ALWAYS or bool(target.machines)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one rule says about one destination."""

    sources: frozenset[Selector]
    protocol: int | None
    ports: tuple[Ports, ...]
    place: Place


_Claims = dict[tuple[Selector, Selector], list[_Claim]]  # by source and destination


def _shadowed(policy: Policy) -> Iterator[Warned]:
    """Compare each ACL and grant with those before it that name its destinations, or `*`."""
    claims: _Claims = {}
    rules: tuple[Acl | Grant, ...] = (*(policy.acls or ()), *(policy.grants or ()))
    for rule in rules:
        said = list(_said(rule))
        covers = [_cover(claims, who, claim) for who, claim in said]
        if rule.sources and covers and all(covers) and not (isinstance(rule, Grant) and rule.app):
            first = next(c for c in covers if c)
            message = f"the rule in {first.place} says this already"
            yield Warned("shadowed", message, rule.place)
        if not (policy.default_postures if rule.postures is None else rule.postures):
            for who, claim in said:
                wide = replace(claim, sources=_widened(policy, claim.sources))
                for source in wide.sources:
                    claims.setdefault((source, who), []).append(wide)


def _said(rule: Acl | Grant) -> Iterator[tuple[Selector, _Claim]]:
    """Yield what a rule says about each destination; nothing for ways through certain nodes."""
    sources = frozenset(rule.sources)
    if isinstance(rule, Acl):
        for d in rule.destinations:
            yield d.who, _Claim(sources, rule.protocol, d.ports, rule.place)
    elif not rule.via:
        for who in rule.destinations:
            for traffic in rule.traffic:
                yield who, _Claim(sources, traffic.protocol, traffic.ports, rule.place)


def _widened(policy: Policy, sources: frozenset[Selector]) -> frozenset[Selector]:
    """Return sources with the members of their groups."""
    groups = (policy.groups[s.name] for s in sources if isinstance(s, GroupSelector))
    return sources.union(*(g.members for g in groups))


def _cover(claims: _Claims, who: Selector, claim: _Claim) -> _Claim | None:
    """Return an earlier claim that says it all: it has one of the sources, or `*`."""
    targets = [who] if _is_apart(who) else [who, _STAR]
    sources = [*islice(claim.sources, 1), _STAR]
    for place in product(sources, targets):
        for earlier in claims.get(place, ()):
            if _covers(earlier, claim):
                return earlier
    return None


def _is_apart(who: Selector) -> bool:
    """Say whether `*` as a destination is not the same way."""
    return isinstance(who, AutoGroupSelector) and who.group is AutoGroup.INTERNET


def _covers(earlier: _Claim, later: _Claim) -> bool:
    if not later.sources <= earlier.sources and not _is_everybody(earlier, later):
        return False
    if earlier.protocol != later.protocol:
        return False
    return all(
        any(e.first <= p.first and p.last <= e.last for e in earlier.ports) for p in later.ports
    )


def _is_everybody(earlier: _Claim, later: _Claim) -> bool:
    """Say whether the earlier rule is for `*`, and the later one's sources are all nodes."""
    named = UserSelector | UserWildcard | GroupSelector | TagSelector | AutoGroupSelector
    return _STAR in earlier.sources and all(
        isinstance(s, named) and not _is_danger(s) for s in later.sources
    )


def _is_danger(selector: Selector) -> bool:
    return isinstance(selector, AutoGroupSelector) and selector.group is AutoGroup.DANGER_ALL


def _unused(policy: Policy) -> Iterator[Warned]:
    used: set[str] = {_name(s) for _, s in mentioned(policy)}
    used |= {_name(s.operand) for ip_set in policy.ip_sets.values() for s in ip_set.steps}
    used |= {_name(s) for s in tested(policy)}
    tables: Iterable[tuple[str, str, Place]] = (
        *(("group", g.name, g.place) for g in policy.groups.values()),
        *(("host", f"host:{h.name}", h.place) for h in policy.hosts.values()),
        *(("IP set", i.name, i.place) for i in policy.ip_sets.values()),
    )
    for kind, name, place in tables:
        if name not in used and "@" not in name:
            yield Warned(
                "unused", f'no rule names the {kind} "{name.removeprefix("host:")}"', place
            )


def _name(selector: Selector) -> str:
    match selector:
        case GroupSelector(name=name) | IpSetSelector(name=name):
            return name
        case HostSelector(name=name):
            return f"host:{name}"
        case _:
            return ""
