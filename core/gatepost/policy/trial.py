"""Runs the policy's own `tests` and `sshTests` against what it compiles to.

A test is about rules, not about delivery: it holds if a rule says so, also
where nobody carries the destination. `accept` wants every source to reach
every destination, `deny` wants none to reach any. A name that means nobody
fails its test. Words of the failures: Tailscale's API, `POST /acl/validate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from gatepost.policy.compiled import Compiled
from gatepost.policy.directory import Machines
from gatepost.policy.document import AccessTest, Expectation, Policy, SshTest
from gatepost.policy.explain import DEFAULT_PROTOCOLS
from gatepost.policy.intervals import Intervals, bits, number_of
from gatepost.policy.inventory import Fact, Inventory
from gatepost.policy.mentions import tested
from gatepost.policy.refusal import FAILED, PolicyRefusedError, Problem
from gatepost.policy.rules import Kind, Opening, Rule
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
)
from gatepost.policy.stand_ins import with_stand_ins

_NOBODY = Intervals()


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that does not hold: whose test, and what was wrong."""

    source: str
    error: str
    place: Place


@dataclass(frozen=True, slots=True)
class _Ends:
    """Who is meant: machines, or addresses that are nobody's."""

    machines: Machines = 0
    addresses: Intervals = field(default=_NOBODY)

    def __bool__(self) -> bool:
        return bool(self.machines or self.addresses)


class TestsFailedError(PolicyRefusedError):
    """The policy fails its own tests. `failures` has each expectation that does not hold."""

    __test__ = False  # its name is not pytest's business

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        problems = (Problem(f"{FAILED}: {f.source}: {f.error}", f.place) for f in failures)
        super().__init__(*problems)
        self.failures = failures


def prove(policy: Policy, inventory: Inventory) -> None:
    """Raise `TestsFailedError` if any test of a policy does not hold."""
    failures = tuple(run(policy, inventory))
    if failures:
        raise TestsFailedError(failures)


def run(policy: Policy, inventory: Inventory) -> Iterator[Failure]:
    """Yield what does not hold."""
    if not policy.tests and not policy.ssh_tests:
        return
    known = [n for n in tested(policy) if _is_known(policy, n)]
    inventory = with_stand_ins(policy, inventory, known)
    trial = _Trial(policy, inventory)
    for test in policy.tests:
        yield from trial.access(test)
    for ssh_test in policy.ssh_tests:
        yield from trial.ssh(ssh_test)


def _is_known(policy: Policy, name: Selector) -> bool:
    match name:
        case GroupSelector(name=word):
            return word in policy.groups
        case TagSelector(name=word):
            return word in policy.tag_owners
        case HostSelector(name=word):
            return word in policy.hosts
        case IpSetSelector(name=word):
            return word in policy.ip_sets
        case _:
            return True


class _Trial:
    """One policy and one inventory, compiled once; again for tests with postures of their own."""

    def __init__(self, policy: Policy, inventory: Inventory) -> None:
        self._policy = policy
        self._compiled = Compiled.of(policy, inventory)

    def access(self, test: AccessTest) -> Iterator[Failure]:
        sources = self._ends(test.source)
        if not sources:
            yield Failure(str(test.source), f'"{test.source}" is nobody', test.source.place)
            return
        compiled = self._as_if(sources.machines, test.posture_attributes)
        for wanted, expectations in (("Accept", test.accept), ("Drop", test.deny)):
            for expected in expectations:
                wrong = self._wrong(compiled, sources, test, expected, wanted)
                if wrong:
                    error = f'address "{expected.text}": {wrong}'
                    yield Failure(str(test.source), error, expected.place)

    def _wrong(
        self,
        compiled: Compiled,
        sources: _Ends,
        test: AccessTest,
        expected: Expectation,
        wanted: str,
    ) -> str:
        """Return what is wrong with an expectation, "" if it holds."""
        if isinstance(expected.who, AutoGroupSelector) and expected.who.group is AutoGroup.SELF:
            return "autogroup:self is no single destination; name the user"
        targets = self._ends(expected.who)
        if not targets:
            return f'"{expected.who}" is nobody'
        if _is_range(targets) and not isinstance(expected.who, Everything):
            return "a test asks for one host, not for a range"
        reach = _Reach(compiled, sources, test.protocol, expected.port)
        if wanted == "Accept":
            return "" if reach.all_to_all(targets) else "want: Accept, got: Drop"
        return "want: Drop, got: Accept" if reach.any_to_any(targets) else ""

    def _ends(self, name: Selector) -> _Ends:
        if not _is_known(self._policy, name):
            return _Ends()
        part = self._compiled.expander.expand(name)
        return _Ends(0, part.addresses) if part.texts else _Ends(part.machines)

    def _as_if(self, machines: Machines, facts: Mapping[str, Fact]) -> Compiled:
        """Return the policy compiled as if these machines reported these facts."""
        if not facts:
            return self._compiled
        inventory = self._compiled.directory.inventory
        changed = {i: replace(inventory.machines[i], facts=facts) for i in bits(machines)}
        inventory = replace(inventory, machines=dict(inventory.machines) | changed)
        return self._compiled.after(inventory, changed)

    def ssh(self, test: SshTest) -> Iterator[Failure]:
        sources = self._machines(test.source)
        if not sources:
            yield Failure(str(test.source), f'"{test.source}" is nobody', test.source.place)
            return
        compiled = self._as_if(sources, test.posture_attributes)
        for name in test.destinations:
            if not self._is_anywhere(name, sources):
                yield Failure(str(test.source), f'dst "{name}" is nobody', name.place)
                continue
            for wanted, logins in (
                ("accept", test.accept),
                ("deny", test.deny),
                ("check", test.check),
            ):
                for login in logins:
                    got = self._verdicts(compiled, sources, name, login)
                    if not _holds(wanted, got):
                        error = f'"{login}" at "{name}": want: {wanted}, got: {_shown(got)}'
                        yield Failure(str(test.source), error, name.place)

    def _machines(self, name: Selector) -> Machines:
        if not _is_known(self._policy, name):
            return 0
        return self._compiled.compiler.sources([name], ()).senders

    def _is_anywhere(self, name: Selector, sources: Machines) -> bool:
        return all(self._there(name, source) for source in bits(sources))

    def _there(self, name: Selector, source: int) -> Machines:
        """Return the machines that a destination means to one source."""
        if not _is_known(self._policy, name):
            return 0
        target = self._compiled.compiler.target(name)
        if target.kind is Kind.SELF:
            member = self._compiled.machines[source].member
            return self._compiled.directory.by_member.get(member, 0)
        return target.owners

    def _verdicts(
        self, compiled: Compiled, sources: Machines, name: Selector, login: str
    ) -> set[str]:
        return {
            compiled.ssh.verdict(source, there, login)[0]
            for source in bits(sources)
            for there in bits(self._there(name, source))
        }


def _is_range(ends: _Ends) -> bool:
    return any(first != last for first, last in ends.addresses)


def _holds(wanted: str, got: set[str]) -> bool:
    return "deny" not in got if wanted == "accept" else got == {wanted}


def _shown(got: set[str]) -> str:
    return ", ".join(sorted(got))


class _Reach:
    """Who of certain sources may send whereto by what the rules say, for one protocol and port."""

    def __init__(self, compiled: Compiled, sources: _Ends, protocol: int | None, port: int) -> None:
        self._directory = compiled.directory
        self._known = compiled.machines
        self._sources = sources
        self._here = [(n, m) for n, m in compiled.directory.numbers if n in sources.addresses]
        self._open = [
            (rule, opening)
            for rule in compiled.rules
            for opening in rule.openings
            if _carries(opening, protocol, port)
        ]

    def all_to_all(self, targets: _Ends) -> bool:
        return all(self._is_covered(target) for target in _units(targets))

    def any_to_any(self, targets: _Ends) -> bool:
        return any(self._is_touched(target) for target in _units(targets))

    def _is_covered(self, target: _Ends) -> bool:
        """Say whether all sources may send, with each of their addresses."""
        machines, addresses = self._let_in(target, partly=False)
        others = bits(self._sources.machines & ~machines)
        return not self._sources.addresses.without(addresses) and all(
            number_of(address) in addresses for i in others for address in self._known[i].addresses
        )

    def _is_touched(self, target: _Ends) -> bool:
        machines, addresses = self._let_in(target, partly=True)
        return bool(self._sources.machines & machines) or any(
            addresses.meets(span) for span in self._sources.addresses
        )

    def _let_in(self, target: _Ends, *, partly: bool) -> tuple[Machines, Intervals]:
        """Return the machines and addresses that may send to a target.

        `partly`: to a part of it, and also machines that may with one of their addresses only.
        """
        machines: Machines = 0
        addresses: list[Intervals] = []
        for rule, opening in self._open:
            if opening.target.kind is Kind.SELF:
                machines |= rule.sources.senders & self._family(target)
            elif self._is_meant(opening, target, partly=partly):
                machines |= rule.sources.senders if partly else rule.sources.named
                addresses += [rule.sources.addresses, self._own(rule)]
        return machines, Intervals().union(*addresses)

    def _own(self, rule: Rule) -> Intervals:
        """Return those of the sources' addresses that are of machines which a rule names."""
        return Intervals.of(
            (n, n) for n, machine in self._here if rule.sources.named >> machine & 1
        )

    def _family(self, target: _Ends) -> Machines:
        """Return the machines of the people whose machines these are."""
        there = target.machines | self._directory.at(target.addresses)
        found = 0
        for own in self._directory.by_member.values():
            found |= own if own & there else 0
        return found

    def _is_meant(self, opening: Opening, target: _Ends, *, partly: bool) -> bool:
        meant = opening.target
        if meant.kind is Kind.ANYTHING:
            return True
        if target.machines or meant.kind is Kind.NAMED:
            is_named = meant.kind is Kind.NAMED
            named = meant.machines if is_named else self._directory.at(meant.addresses)
            return bool(named & (target.machines | self._directory.at(target.addresses)))
        if partly:
            return any(meant.addresses.meets(span) for span in target.addresses)
        return not target.addresses.without(meant.addresses)


def _units(ends: _Ends) -> Iterator[_Ends]:
    """Yield each machine by itself, and the addresses together."""
    for machine in bits(ends.machines):
        yield _Ends(1 << machine)
    if ends.addresses:
        yield _Ends(0, ends.addresses)


def _carries(opening: Opening, protocol: int | None, port: int) -> bool:
    """Say whether an opening is for a port; a test without a protocol takes any usual one."""
    asked = DEFAULT_PROTOCOLS if protocol is None else frozenset({protocol})
    open_for = DEFAULT_PROTOCOLS if opening.protocol is None else frozenset({opening.protocol})
    return bool(asked & open_for) and any(p.first <= port <= p.last for p in opening.ports)
