"""Which announced routes are approved without asking: the policy's `autoApprovers`.

An approver of a prefix may announce any part of it. Exit nodes have a list of
their own: an approver of 0.0.0.0/0 under `routes` approves no default route.
Source: protocol document 6.2, the captures of routes.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import IPNetwork
from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy
from gatepost.policy.expand import Expander
from gatepost.policy.selectors import Selector


def approved_by(
    policy: Policy, directory: Directory, machine_id: int, announced: Iterable[IPNetwork]
) -> tuple[IPNetwork, ...]:
    """Return the announced prefixes of a machine that the policy approves, in their order."""
    expander = Expander(policy, directory)
    approvers = policy.auto_approvers
    bit = 1 << machine_id

    def is_approved(prefix: IPNetwork) -> bool:
        if prefix in EVERYWHERE:
            return bool(_meant(approvers.exit_node, expander) & bit)
        return any(
            _covers(wide, prefix) and _meant(who, expander) & bit
            for wide, who in approvers.routes.items()
        )

    return tuple(p for p in announced if is_approved(p))


def _meant(selectors: Iterable[Selector], expander: Expander) -> Machines:
    found = 0
    for selector in selectors:
        found |= expander.expand(selector).machines
    return found


def _covers(wide: IPNetwork, prefix: IPNetwork) -> bool:
    if wide.version != prefix.version:
        return False
    return prefix.prefixlen >= wide.prefixlen and prefix.network_address in wide
