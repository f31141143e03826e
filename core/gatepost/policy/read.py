"""From text to a `Policy`, or to every reason why not.

`read` is pure and knows nothing of users and nodes; what depends on the tailnet
(whose domains these are, whether the policy's own tests hold) is judged by
`gatepost.policy.domains` and `gatepost.policy.trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from gatepost.policy.check import check
from gatepost.policy.document import AutoApprovers, Group, Policy
from gatepost.policy.fields import Fields, each, members_of
from gatepost.policy.hujson import Json, Member, pack, parse
from gatepost.policy.mentions import mentioned
from gatepost.policy.read_postures import read_posture
from gatepost.policy.read_rules import posture_name, read_acl, read_grant, read_node_attribute
from gatepost.policy.read_ssh import read_ssh_rule
from gatepost.policy.read_tables import (
    Entry,
    by_name,
    read_auto_approvers,
    read_group,
    read_host,
    read_ip_set,
    read_tag_owners,
)
from gatepost.policy.read_tests import read_ssh_test, read_test
from gatepost.policy.refusal import Complaints, PolicyRefusedError, refuse
from gatepost.policy.selectors import GroupSelector

SECTIONS = (
    "acls", "grants", "ssh", "groups", "tagOwners", "hosts", "ipsets", "postures",
    "defaultSrcPosture", "autoApprovers", "nodeAttrs", "tests", "sshTests", "derpMap",
    "disableIPv4", "randomizeClientPort", "OneCGNATRoute",
)  # fmt: skip
_CGNAT_WORDS = ("", "mac-always", "mac-never")

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=Entry)


def read(text: str) -> Policy:
    """Read a policy; raise `PolicyRefusedError` with every problem and its place."""
    fields = Fields(parse(text), SECTIONS, "a policy")
    reader = _Reader(fields)
    policy = reader.policy()
    reader.complaints.settle()
    check(policy).settle()
    return _with_synced_groups(policy)


def _with_synced_groups(policy: Policy) -> Policy:
    """Add what an identity provider would fill (`group:name@domain`), as groups of nobody."""
    named = (s for _, s in mentioned(policy) if isinstance(s, GroupSelector))
    missing = {s.name: Group(name=s.name, place=s.place) for s in named if "@" in s.name}
    if not missing:
        return policy
    return replace(policy, groups=MappingProxyType(missing | dict(policy.groups)))


class _Reader:
    """Reads section by section; a bad element is a complaint, and the rest goes on."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.complaints = Complaints.none()

    def policy(self) -> Policy:
        fields = self._fields
        return Policy(
            acls=self._rules("acls", read_acl),
            grants=self._rules("grants", read_grant),
            ssh=self._list("ssh", read_ssh_rule),
            groups=self._table("groups", read_group, backwards=True),
            tag_owners=self._table("tagOwners", read_tag_owners),
            hosts=self._table("hosts", read_host),
            ip_sets=self._table("ipsets", read_ip_set),
            postures=self._table("postures", read_posture),
            default_postures=self._try(self._default_postures, ()),
            auto_approvers=self._try(self._auto_approvers, AutoApprovers()),
            node_attributes=self._list("nodeAttrs", read_node_attribute),
            tests=self._list("tests", read_test),
            ssh_tests=self._list("sshTests", read_ssh_test),
            derp_map=self._try(self._derp_map, None),
            disable_ipv4=self._try(lambda: fields.flag("disableIPv4"), default=False),
            randomize_client_port=self._try(
                lambda: fields.flag("randomizeClientPort"), default=False
            ),
            one_cgnat_route=self._try(self._one_cgnat_route, ""),
        )

    def _try(self, make: Callable[[], T], default: D) -> T | D:
        try:
            return make()
        except PolicyRefusedError as refusal:
            self.complaints.take(refusal)
            return default

    def _rules(self, name: str, make: Callable[[Json], T]) -> tuple[T, ...] | None:
        return None if self._fields.get(name) is None else self._list(name, make)

    def _list(self, name: str, make: Callable[[Json], T]) -> tuple[T, ...]:
        items = self._try(lambda: self._fields.items(name), ())
        return tuple(each(items, make, self.complaints))

    def _table(
        self, name: str, make: Callable[[Member], E], *, backwards: bool = False
    ) -> Mapping[str, E]:
        """Read a table. `backwards`: complain of the last name first, as Tailscale does."""
        members = self._try(lambda: self._fields.members(name), ())
        if backwards:
            members = tuple(sorted(members, key=lambda m: m.name.text, reverse=True))
        entries = list(each(members, make, self.complaints))
        return self._try(lambda: by_name(entries), MappingProxyType[str, E]({}))

    def _default_postures(self) -> tuple[str, ...]:
        return tuple(map(posture_name, self._fields.texts("defaultSrcPosture")))

    def _auto_approvers(self) -> AutoApprovers:
        value = self._fields.get("autoApprovers")
        return AutoApprovers() if value is None else read_auto_approvers(value)

    def _derp_map(self) -> str | None:
        value = self._fields.get("derpMap")
        if value is None:
            return None
        members_of(value, "derpMap")
        return pack(value)

    def _one_cgnat_route(self) -> str:
        words = self._fields.text("OneCGNATRoute")
        if words not in _CGNAT_WORDS:
            raise refuse(
                f'OneCGNATRoute "{words}" is not known',
                self._fields.place_of("OneCGNATRoute"),
                'write "mac-always" or "mac-never", or leave it out',
            )
        return words
