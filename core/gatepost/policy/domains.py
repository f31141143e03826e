"""Whose domains a tailnet has: wildcards over users of other domains are refused.

A tailnet of alice@example.com has `example.com`; `passkey` is nobody's and so always there.
"""

from __future__ import annotations

from collections.abc import Collection

from gatepost.policy.document import Policy
from gatepost.policy.mentions import mentioned
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

    for section, selector in mentioned(policy):
        if isinstance(selector, UserWildcard):
            judge(selector.domain, selector, f"[{section}] ")
    for rule in policy.ssh:
        for login in rule.logins:
            if isinstance(login, LocalPart):
                judge(login.domain, login, "")
    return complaints
