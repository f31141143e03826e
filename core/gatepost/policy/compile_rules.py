"""Turns the ACLs and grants of a policy into rules, names looked up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from gatepost.policy.apps import connectors_of
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Acl, Destination, Grant, Policy
from gatepost.policy.expand import Expander, Expansion
from gatepost.policy.intervals import EVERYWHERE, Intervals, address_of, span_of
from gatepost.policy.postures import fitting
from gatepost.policy.rules import Kind, Opening, Rule, Sources, Target
from gatepost.policy.selectors import (
    AddressSelector,
    AutoGroup,
    AutoGroupSelector,
    Everything,
    Selector,
    ServiceSelector,
    TagSelector,
)

# What `autogroup:internet` means in a filter. Source: protocol document 6.2.
INTERNET = Intervals.of(
    [span_of(IPv4Network("0.0.0.0/0")), span_of(IPv6Network("2000::/3"))]
).without(
    Intervals.of(
        span_of(IPv4Network(private))
        for private in (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
        )
    )
)
INTERNET_TEXTS = tuple(f"{address_of(first)}-{address_of(last)}" for first, last in INTERNET)

_ANYBODY = "*"  # `autogroup:danger-all`, as filters write it

# What holds in a policy that has neither `acls` nor `grants`.
_EVERYBODY = Acl(
    sources=(Everything(),), destinations=(Destination(who=Everything()),), postures=()
)


class RuleCompiler:
    """Compiles one policy against one directory."""

    def __init__(self, policy: Policy, directory: Directory, expander: Expander) -> None:
        self._policy = policy
        self._directory = directory
        self._expander = expander
        self._sources: dict[tuple[frozenset[Selector], tuple[str, ...]], Sources] = {}
        self._targets: dict[tuple[Selector, Machines | None], Target] = {}
        self._old_sources: dict[tuple[frozenset[Selector], tuple[str, ...]], Sources] = {}
        self._old_targets: dict[tuple[Selector, Machines | None], Target] = {}
        self._connectors = connectors_of(policy, directory)
        self._fitting: dict[tuple[str, ...], Machines] = {}

    def take_over(self, before: RuleCompiler) -> None:
        """Make sources and targets the same objects as before where they are equal.

        Then whatever is made of them need not be made again, and rules are compared fast.
        """
        self._old_sources = before._sources
        self._old_targets = before._targets

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules that let anything in, in the order of the policy."""
        if self._policy.acls is None and self._policy.grants is None:
            return (self._acl(0, _EVERYBODY),)
        acls = [self._acl(i, a) for i, a in enumerate(self._policy.acls or ())]
        grants = [self._grant(i, g) for i, g in enumerate(self._policy.grants or ())]
        return tuple(r for r in (*acls, *grants) if r.sources or (r.app and r.names))

    def _acl(self, number: int, acl: Acl) -> Rule:
        openings = tuple(
            Opening(target=self._target(d.who, None), protocol=acl.protocol, ports=d.ports)
            for d in acl.destinations
        )
        postures = self._postures(acl.postures)
        return Rule(
            sources=self.sources(acl.sources, postures),
            openings=openings,
            key=_key(acl.sources, postures),
            names=acl.sources,
            section="acls",
            number=number,
            place=acl.place,
        )

    def _grant(self, number: int, grant: Grant) -> Rule:
        via = self._via(grant.via)
        postures = self._postures(grant.postures)
        targets = [self._target(d, via) for d in grant.destinations]
        openings = tuple(
            Opening(target=t, protocol=traffic.protocol, ports=traffic.ports)
            for traffic in grant.traffic
            for t in targets
        )
        has_app = bool(grant.app) and via is None  # with `via`, only `ip` has a meaning
        return Rule(
            sources=self.sources(grant.sources, postures),
            openings=openings,
            app=grant.app if has_app else {},
            app_targets=tuple(targets) if has_app else (),
            via=via,
            key=_key(grant.sources, postures),
            names=grant.sources,
            section="grants",
            number=number,
            place=grant.place,
        )

    def _via(self, tags: Sequence[TagSelector]) -> Machines | None:
        if not tags:
            return None
        found = 0
        for tag in tags:
            found |= self._expander.expand(tag).machines
        return found

    def _postures(self, named: tuple[str, ...] | None) -> tuple[str, ...]:
        return self._policy.default_postures if named is None else named

    def sources(self, selectors: Iterable[Selector], postures: tuple[str, ...]) -> Sources:
        """Return who is meant; with postures, only machines that fit, by their own addresses."""
        place = frozenset(selectors), postures
        found = self._sources.get(place)
        if found is None:
            found = self._add_up([self._expander.expand(s) for s in place[0]])
            if postures:
                named = found.senders & self._fits(postures)
                found = Sources(named=named, senders=named)
            old = self._old_sources.get(place)
            found = old if old is not None and old == found else found
            self._sources[place] = found
        return found

    def _add_up(self, expansions: Sequence[Expansion]) -> Sources:
        """Join without merging: an address within a range is listed beside it."""
        named = addressed = 0
        texts: dict[str, None] = {}
        for part in expansions:
            is_written = bool(part.texts)  # then `machines` are there by their addresses
            addressed |= part.machines if is_written else 0
            named |= 0 if is_written else part.machines
            texts.update(dict.fromkeys(part.texts))
        if _ANYBODY in texts:  # says it all
            named, texts = 0, {_ANYBODY: None}
        addresses = Intervals.of(span for part in expansions for span in part.addresses)
        if addressed != self._directory.everyone and addresses:
            addressed |= self._directory.at(addresses)
        return Sources(
            named=named,
            texts=tuple(sorted(texts)),
            addresses=addresses,
            senders=named | addressed,
            carriers=self._directory.behind(addresses),
        )

    def _fits(self, postures: tuple[str, ...]) -> Machines:
        found = self._fitting.get(postures)
        if found is None:
            machines = self._directory.inventory.machines.values()
            found = fitting(self._policy, postures, machines)
            self._fitting[postures] = found
        return found

    def _target(self, selector: Selector, via: Machines | None) -> Target:
        place = selector, via
        found = self._targets.get(place)
        if found is None:
            made = self.target(selector)
            found = made if via is None else self._steered(made, via)
            old = self._old_targets.get(place)
            found = old if old is not None and old == found else found
            self._targets[place] = found
        return found

    def target(self, selector: Selector) -> Target:
        """Return where a destination is."""
        directory = self._directory
        match selector:
            case Everything() | AutoGroupSelector(group=AutoGroup.DANGER_ALL):
                everyone = directory.everyone
                return Target(
                    kind=Kind.ANYTHING,
                    machines=everyone,
                    owners=everyone,
                    addresses=EVERYWHERE,
                    texts=("*",),
                    selector=selector,
                )
            case AutoGroupSelector(group=AutoGroup.SELF):
                machines = directory.personal
                return Target(kind=Kind.SELF, machines=machines, owners=machines, selector=selector)
            case AutoGroupSelector(group=AutoGroup.INTERNET):
                return Target(
                    kind=Kind.INTERNET,
                    machines=directory.exits | self._connectors,
                    addresses=INTERNET,
                    texts=INTERNET_TEXTS,
                    selector=selector,
                )
            case _:
                return self._expanded(selector)

    def _expanded(self, selector: Selector) -> Target:
        part = self._expander.expand(selector)
        if not part.texts:
            machines = part.machines
            return Target(kind=Kind.NAMED, machines=machines, owners=machines, selector=selector)
        owners = 0 if _is_lone_ipv6(selector) else self._directory.at(part.addresses)
        hosts = owners | self._directory.behind(part.addresses)
        if isinstance(selector, ServiceSelector):
            service = self._directory.inventory.services[selector.name]
            for host in service.hosts:
                hosts |= 1 << host
        return Target(
            kind=Kind.WRITTEN,
            machines=hosts,
            owners=owners,
            addresses=part.addresses,
            texts=part.texts,
            selector=selector,
        )

    def _steered(self, target: Target, via: Machines) -> Target:
        """Return what is left of a target behind certain routers: subnets and the internet."""
        match target.kind:
            case Kind.WRITTEN:
                machines = self._directory.behind(target.addresses) & via
            case Kind.INTERNET:
                machines = target.machines & via
            case _:
                machines = 0
        return Target(
            kind=target.kind,
            machines=machines,
            addresses=target.addresses,
            texts=target.texts,
            selector=target.selector,
        )


def _is_lone_ipv6(selector: Selector) -> bool:
    """Say whether a destination is an IPv6 address by itself.

    Tailscale delivers such a destination to routers only: the machine that has
    the address lets nothing in by it (a network around it, and IPv4, work).
    """
    return isinstance(selector, AddressSelector) and isinstance(selector.address, IPv6Address)


def _key(sources: Iterable[Selector], postures: Iterable[str]) -> str:
    """Return 16 characters that are the same for rules of the same sources."""
    words = "\n".join((*sorted(map(str, sources)), "", *sorted(postures)))
    return blake2s(words.encode(), digest_size=8).hexdigest()
