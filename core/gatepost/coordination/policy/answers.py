"""Answers "may SRC reach DST?", with the rule, its place, and what each name stands for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from gatepost.errors import NotFoundError, SettingsError
from gatepost.model.netmap import IPAddress
from gatepost.model.policy import (
    CanDocument,
    CanRequest,
    EndsDocument,
    MeaningDocument,
    RuleDocument,
)
from gatepost.policy.check import Checker
from gatepost.policy.compiled import Compiled
from gatepost.policy.document import LAST_PORT, SshRule
from gatepost.policy.explain import Answer, Meaning, Question, can, meanings
from gatepost.policy.intervals import Intervals, address_of, bits, number_of
from gatepost.policy.names import numeric, selector
from gatepost.policy.ports import ICMP, ICMPV6, TCP, parse_protocol
from gatepost.policy.rules import Rule
from gatepost.policy.selectors import Everything, Place, Selector, UserSelector

MOST_PAIRS = 400  # of ends, in one question


@dataclass(frozen=True, slots=True)
class _End:
    """One end: the address that is asked about, and the node that has it, if any."""

    label: str
    address: IPAddress
    machine: int | None = None


def answer(compiled: Compiled, request: CanRequest) -> CanDocument:
    """Answer for every pair of ends; raise `NotFoundError`, `SettingsError` for wrong names."""
    sources = _ends(compiled, request.source)
    destinations = _ends(compiled, request.destination)
    pairs = list(product(sources, destinations))
    if len(pairs) > MOST_PAIRS:
        raise SettingsError(
            f"{request.source} and {request.destination} are {len(pairs)} pairs of nodes, "
            f"over {MOST_PAIRS}: name fewer"
        )
    if request.login:
        return _ssh(compiled, request, pairs)
    return _packets(compiled, request, pairs)


def _packets(
    compiled: Compiled, request: CanRequest, pairs: list[tuple[_End, _End]]
) -> CanDocument:
    protocol = parse_protocol(request.protocol, Place()) or TCP
    if not 0 <= request.port <= LAST_PORT:
        raise SettingsError(f"port {request.port} is not from 0 to {LAST_PORT}")
    questions = [
        Question(
            source=one.address,
            destination=other.address,
            port=request.port,
            protocol=protocol,
        )
        for one, other in pairs
    ]
    answers = [can(compiled, question) for question in questions]
    if protocol in {ICMP, ICMPV6} and not any(a.is_allowed for a in answers):
        pings = [can(compiled, replace(question, is_ping=True)) for question in questions]
        if any(a.is_allowed for a in pings):
            return _only_pings(compiled, pairs, pings)
    rules = {r.place_in_policy: r for a in answers for r in a.rules}
    return CanDocument(
        allowed=all(a.is_allowed for a in answers),
        reason=_reason(answers),
        pairs=_documents(pairs, [a.is_allowed for a in answers]),
        rules=tuple(_rule(compiled, rule) for rule in rules.values()),
        capabilities=_capabilities(answers),
    )


def _only_pings(
    compiled: Compiled, pairs: list[tuple[_End, _End]], answers: list[Answer]
) -> CanDocument:
    """Say no, and that a ping is answered all the same: it comes in by rules for other things."""
    allowed = sum(a.is_allowed for a in answers)
    where = "" if allowed == len(answers) else f" for {allowed} of {len(answers)} pairs"
    rules = {r.place_in_policy: r for a in answers if a.is_allowed for r in a.rules}
    return CanDocument(
        allowed=False,
        reason=f"no rule allows it, but pings pass{where}: a rule opens something else there",
        pairs=_documents(pairs, [False for _ in pairs]),
        rules=tuple(_rule(compiled, rule) for rule in rules.values()),
        capabilities=_capabilities(answers),
    )


def _capabilities(answers: list[Answer]) -> dict[str, tuple[str, ...]]:
    """Return the values that each capability has anywhere, by any rule, each once."""
    found: dict[str, tuple[str, ...]] = {}
    for name, values in (c for a in answers for c in a.capabilities):
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), *values)))
    return found


def _reason(answers: list[Answer]) -> str:
    allowed = sum(a.is_allowed for a in answers)
    if allowed == len(answers):
        return "a rule allows it"
    if allowed:
        return f"rules allow it for {allowed} of {len(answers)} pairs"
    if any(a.is_written for a in answers):
        return "a rule allows it, but no node has or carries the destination"
    return "no rule allows it"


def _documents(pairs: list[tuple[_End, _End]], allowed: list[bool]) -> tuple[EndsDocument, ...]:
    return tuple(
        EndsDocument(source=one.label, destination=other.label, allowed=yes)
        for (one, other), yes in zip(pairs, allowed, strict=True)
    )


def _rule(compiled: Compiled, rule: Rule) -> RuleDocument:
    return RuleDocument(
        section=rule.section,
        number=rule.number + 1,
        line=rule.place.line,
        column=rule.place.column,
        meanings=tuple(_meaning(compiled, m) for m in meanings(compiled, rule)),
    )


def _meaning(compiled: Compiled, meaning: Meaning) -> MeaningDocument:
    return MeaningDocument(
        name=str(meaning.name),
        nodes=tuple(compiled.machines[i].name for i in meaning.machines),
        addresses=meaning.addresses,
    )


def _ssh(compiled: Compiled, request: CanRequest, pairs: list[tuple[_End, _End]]) -> CanDocument:
    allowed: list[bool] = []
    rules: dict[int, SshRule] = {}
    for one, other in pairs:
        rule = None
        if one.machine is not None and other.machine is not None:
            _, rule = compiled.ssh.verdict(one.machine, other.machine, request.login)
        allowed.append(rule is not None)
        if rule is not None:
            rules[compiled.policy.ssh.index(rule)] = rule
    reason = f"no SSH rule allows {request.login!r}"
    if all(allowed):
        is_checked = any(rule.action == "check" for rule in rules.values())
        reason = "a rule allows it after a check" if is_checked else "a rule allows it"
    return CanDocument(
        allowed=all(allowed),
        reason=reason,
        pairs=_documents(pairs, allowed),
        rules=tuple(_ssh_rule(number, rule) for number, rule in rules.items()),
    )


def _ssh_rule(number: int, rule: SshRule) -> RuleDocument:
    return RuleDocument(
        section="ssh",
        number=number + 1,
        line=rule.place.line,
        column=rule.place.column,
        action=rule.action,
    )


def _ends(compiled: Compiled, words: str) -> list[_End]:
    """Return what one end of a question means: a node by its name first."""
    name = words.strip()
    node = _node(compiled, name.lower())
    if node is not None:
        return _of_machines(compiled, [node])
    found = selector(name, Place())
    _check_known(compiled, found)
    part = compiled.expander.expand(found)
    if part.texts and not isinstance(found, Everything):
        return [_of_address(compiled, a) for a in _single(part.addresses, words)]
    ends = _of_machines(compiled, bits(part.machines))
    if not ends:
        raise NotFoundError(f"{words!r} is nobody now: no node of this mesh is meant")
    return ends


def _single(addresses: Intervals, words: str) -> Iterator[IPAddress]:
    """Yield the addresses; raise `SettingsError` if there is a range, which may be half open."""
    for first, last in addresses:
        if first != last:
            raise SettingsError(
                f"{words!r} is a range, and a question is about one address, not a range: name one"
            )
        yield address_of(first)


def _node(compiled: Compiled, name: str) -> int | None:
    """Return the node of a name, with or without a domain; users and addresses have dots too."""
    if not name or "@" in name or numeric(name, Place()) is not None:
        return None
    label = name.partition(".")[0]
    return next((m.id for m in compiled.machines.values() if m.name == label), None)


def _of_machines(compiled: Compiled, machines: Iterable[int]) -> list[_End]:
    found = [compiled.machines[i] for i in machines]
    return [_End(m.name, m.addresses[0], m.id) for m in found if m.addresses]


def _of_address(compiled: Compiled, address: IPAddress) -> _End:
    number = number_of(address)
    owner = next((m for n, m in compiled.directory.numbers if n == number), None)
    return _End(str(address), address, owner)


def _check_known(compiled: Compiled, name: Selector) -> None:
    checker = Checker(compiled.policy)
    checker.names([name])
    if checker.complaints.problems:
        raise NotFoundError(
            f"{name} is neither a node nor a name in the policy",
            hint="`gatepost admin nodes list` shows the nodes",
        )
    members = compiled.directory.inventory.members
    if isinstance(name, UserSelector) and not any(
        m.is_called(name.login) for m in members.values()
    ):
        raise NotFoundError(f"there is no user {name}")
