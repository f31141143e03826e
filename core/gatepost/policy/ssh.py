"""Who may sign in to whom over Tailscale SSH: the rules that each machine is sent.

The first rule that fits decides; rules that ask for a check come first, as
they are the stricter ones. Source: protocol document 6.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gatepost.policy.addresses import Addresses
from gatepost.policy.compile_rules import RuleCompiler
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy, SshRule
from gatepost.policy.inventory import Member
from gatepost.policy.rules import Kind, Sources
from gatepost.policy.selectors import LocalPart, LoginName, NonRoot

Json = dict[str, Any]  # one rule of the wire's SSHPolicy, or its action
Verdict = Literal["accept", "check", "deny"]

# The client puts the ids and the local user in, and takes only the path from this.
CHECK_URL = "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER"
CHECK_PERIOD = 12 * 3600.0  # seconds, if the rule gives none
RECORDER_PORT = 80
_ROOT, _ANYBODY, _SAME = "root", "*", "="
_NO_RECORDER = "no session recorder could be reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """`machines` are the destinations by name or address; `is_about_self` adds people's own."""

    rule: SshRule
    sources: Sources
    machines: Machines
    is_about_self: bool
    is_about_others: bool


class SshRules:
    """The `ssh` section of one policy, names looked up."""

    def __init__(
        self, policy: Policy, directory: Directory, compiler: RuleCompiler, addresses: Addresses
    ) -> None:
        self._directory = directory
        self._addresses = addresses
        strictest_first = sorted(policy.ssh, key=lambda r: r.action != "check")
        self._rules = tuple(_looked_up(r, policy, compiler) for r in strictest_first)
        self._compiler = compiler

    def of(self, machine_id: int) -> tuple[Json, ...]:
        """Return the rules that decide who may sign in to a machine."""
        return tuple(j for rule in self._rules for j in self._for(rule, machine_id))

    def verdict(self, source: int, destination: int, login: str) -> tuple[Verdict, SshRule | None]:
        """Say whether a machine may sign in to another as a local user, and by which rule."""
        own = set(self._addresses.of(source))
        for rule in self._rules:
            for made in self._for(rule, destination):
                principals = {p["nodeIP"] for p in made["principals"]}
                local = _local_user(made["sshUsers"], login)
                if local and principals & own:
                    return rule.rule.action, rule.rule
        return "deny", None

    def _for(self, rule: _Rule, machine_id: int) -> Iterator[Json]:
        bit = 1 << machine_id
        senders = rule.sources.senders
        member = self._addresses.machine(machine_id).member
        own = senders & self._directory.by_member.get(member, 0)
        if rule.is_about_self and own:
            yield from self._made(rule.rule, own, member)
        localparts = [u for u in rule.rule.logins if isinstance(u, LocalPart)]
        if rule.machines & bit:
            if localparts:
                yield from self._one_by_one(rule.rule, senders)
            elif senders:
                yield self._plain(rule.rule, senders)
        elif rule.is_about_others and localparts and senders & bit:
            # Whoever may sign in elsewhere under the own name is told so at home too.
            yield from self._made(rule.rule, own or bit, member)

    def _one_by_one(self, rule: SshRule, senders: Machines) -> Iterator[Json]:
        """Yield the rules of each user, by id, and those of tagged machines together."""
        rest = senders
        for member, machines in sorted(self._directory.by_member.items()):
            if machines & senders:
                rest &= ~machines
                yield from self._made(rule, machines & senders, member)
        if rest:
            yield self._plain(rule, rest)

    def _made(self, rule: SshRule, senders: Machines, member_id: int) -> Iterator[Json]:
        yield self._plain(rule, senders)
        member = self._directory.inventory.members.get(member_id)
        name = _local_part(rule, member) if member else ""
        if name:
            yield self._json(rule, senders, {name: name})

    def _plain(self, rule: SshRule, senders: Machines) -> Json:
        return self._json(rule, senders, _users(rule))

    def _json(self, rule: SshRule, senders: Machines, users: dict[str, str]) -> Json:
        principals = [{"nodeIP": a} for a in self._addresses.of_all(senders)]
        made: Json = {"principals": principals, "sshUsers": users, "action": self._action(rule)}
        if rule.accept_env:
            made["acceptEnv"] = list(rule.accept_env)
        return made

    def _action(self, rule: SshRule) -> Json:
        if rule.action == "check":
            return {"holdAndDelegate": CHECK_URL}
        return self.acceptance(rule)

    def acceptance(self, rule: SshRule) -> Json:
        """Return the action that lets somebody in by a rule, for a check: who has passed it."""
        action: Json = {
            "accept": True,
            "allowAgentForwarding": True,
            "allowLocalPortForwarding": True,
            "allowRemotePortForwarding": True,
        }
        recorders = sorted(self._recorders(rule))
        if recorders:
            action["recorders"] = recorders
        if recorders and rule.enforce_recorder:
            action["onRecordingFailure"] = {
                "rejectSessionWithMessage": _NO_RECORDER,
                "terminateSessionWithMessage": _NO_RECORDER,
            }
        return action

    def _recorders(self, rule: SshRule) -> Iterator[str]:
        for selector in rule.recorders:
            target = self._compiler.target(selector)
            for address in self._addresses.of_all(target.owners):
                host = f"[{address}]" if ":" in address else address
                yield f"{host}:{RECORDER_PORT}"


def _looked_up(rule: SshRule, policy: Policy, compiler: RuleCompiler) -> _Rule:
    postures = policy.default_postures if rule.postures is None else rule.postures
    targets = [compiler.target(d) for d in rule.destinations]
    machines = 0
    for target in targets:
        machines |= 0 if target.kind is Kind.SELF else target.owners
    kinds = {t.kind for t in targets}
    return _Rule(
        rule=rule,
        sources=compiler.sources(rule.sources, postures),
        machines=machines,
        is_about_self=Kind.SELF in kinds,
        is_about_others=bool(kinds - {Kind.SELF}),
    )


def _users(rule: SshRule) -> dict[str, str]:
    """Return whom a requested user becomes: "" is nobody, "=" the same name."""
    users: dict[str, str] = {_ROOT: ""}
    for login in rule.logins:
        match login:
            case LoginName(name=name):
                users[name] = name
            case NonRoot():
                users[_ANYBODY] = _SAME
            case LocalPart():
                pass  # a rule of its own for each user
    return users


def _local_part(rule: SshRule, member: Member) -> str:
    """Return the name that `localpart:*@domain` gives a user, "" for none."""
    domains = {u.domain.casefold() for u in rule.logins if isinstance(u, LocalPart)}
    return member.local_part if member.domain.casefold() in domains else ""


def _local_user(users: dict[str, str], login: str) -> str:
    """Return the local user that a login becomes, "" for none. Root is never meant by "*"."""
    found = users.get(login)
    if found is None and login != _ROOT:
        found = users.get(_ANYBODY)
    return login if found == _SAME else found or ""
