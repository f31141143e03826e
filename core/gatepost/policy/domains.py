"""Whose domains a tailnet has: wildcards over users of other domains are refused.

A tailnet of alice@example.com has `example.com`; `passkey` is nobody's and so always there.
"""

from __future__ import annotations

from collections.abc import Collection

from gatepost.policy.document import Policy
from gatepost.policy.refusal import Complaints
from gatepost.policy.selectors import PASSKEY, LocalPart, Selector, UserWildcard


def check_domains(policy: Policy, domains: Collection[str]) -> Complaints:
    """Complain of wildcards over users of a domain that the tailnet does not have."""
    complaints = Complaints.none()

    def judge(domain: str, name: Selector | LocalPart, before: str) -> None:
        if domain == PASSKEY or domain in domains:
            return
        complaints.add(
            f"{before}{domain} is not associated with this Tailnet and cannot be used in "
            "user:*@<domain> expressions",
            name.place,
            f"it has {', '.join(sorted(domains)) or 'no domain'}",
        )

    for section, selectors in _used(policy):
        for selector in selectors:
            if isinstance(selector, UserWildcard):
                judge(selector.domain, selector, f"[{section}] ")
    for rule in policy.ssh:
        for login in rule.logins:
            if isinstance(login, LocalPart):
                judge(login.domain, login, "")
    return complaints


def _used(policy: Policy) -> list[tuple[str, list[Selector]]]:
    """Return every selector that may be a wildcard, by section."""
    acls, grants = policy.acls or (), policy.grants or ()
    approvers = policy.auto_approvers
    approving = (*approvers.routes.values(), approvers.exit_node, *approvers.services.values())
    return [
        ("acls", [s for a in acls for s in (*a.sources, *(d.who for d in a.destinations))]),
        ("grants", [s for g in grants for s in (*g.sources, *g.destinations)]),
        ("ssh", [s for r in policy.ssh for s in (*r.sources, *r.destinations)]),
        ("groups", [s for g in policy.groups.values() for s in g.members]),
        ("tagOwners", [s for t in policy.tag_owners.values() for s in t.owners]),
        ("nodeAttrs", [s for n in policy.node_attributes for s in n.targets]),
        ("autoApprovers", [s for approvers in approving for s in approvers]),
    ]
