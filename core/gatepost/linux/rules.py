"""The applier of `Rule`: routing policy rules with our protocol number and priorities."""

from __future__ import annotations

import errno
import socket

from gatepost.linux import rtnetlink
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import Message, Request
from gatepost.model.kernel import Rule
from gatepost.model.owned import RULE_PRIORITIES
from gatepost.model.resource import Change, Resource

_THERE = frozenset({errno.EEXIST})
_GONE = frozenset({errno.ENOENT, errno.ESRCH})


class Rules:
    """Owns what carries protocol 152 and one of our priorities, and nothing else.

    Another program may use the same priorities; its rules have another protocol.
    """

    applies: type[Resource] = Rule

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    async def read(self) -> frozenset[Resource]:
        found: dict[tuple[int, int], Rule] = {}
        for rule, _ in await self._ours():
            key = (rule.family, rule.priority)
            # Two of ours at one priority: equal to no rule that is wanted, so the next
            # write leaves one.
            bent = Rule(family=rule.family, priority=rule.priority, table=0)
            found[key] = bent if key in found else rule
        return frozenset(found.values())

    async def _ours(self) -> list[tuple[Rule, Message]]:
        messages = [
            *await self._netlink.ask(rtnetlink.get_rules(socket.AF_INET)),
            *await self._netlink.ask(rtnetlink.get_rules(socket.AF_INET6)),
        ]
        pairs = ((rtnetlink.read_rule(m), m) for m in messages)
        return [(r, m) for r, m in pairs if r is not None and r.priority in RULE_PRIORITIES]

    async def write(self, changes: tuple[Change, ...]) -> None:
        """Add first, then take away: the kernel cannot replace a rule, and none must be missing."""
        wanted = {c.key: c.new for c in changes if isinstance(c.new, Rule)}
        touched = {c.key for c in changes}
        for rule in wanted.values():
            if rule.priority not in RULE_PRIORITIES:
                raise OSError(errno.EPERM, f"{rule}: the priority is not one of ours")
        await self._netlink.write([rtnetlink.add_rule(r) for r in wanted.values()], _THERE)
        stale: list[Request] = []
        kept: set[Rule] = set()
        for rule, message in await self._ours():
            if rule.key not in touched:
                continue
            if rule == wanted.get(rule.key) and rule not in kept:
                kept.add(rule)
                continue
            stale.append(rtnetlink.delete_rule(message, rule))
        await self._netlink.write(stale, _GONE)
