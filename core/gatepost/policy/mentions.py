"""Who and what a policy names: in its sections, and in its tests."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.policy.document import Policy
from gatepost.policy.selectors import Selector


def mentioned(policy: Policy) -> Iterator[tuple[str, Selector]]:
    """Yield (section, selector) for every name outside `tests` and `sshTests`."""
    for acl in policy.acls or ():
        yield from (("acls", s) for s in (*acl.sources, *(d.who for d in acl.destinations)))
    for grant in policy.grants or ():
        yield from (("grants", s) for s in (*grant.sources, *grant.destinations, *grant.via))
    for rule in policy.ssh:
        yield from (("ssh", s) for s in (*rule.sources, *rule.destinations, *rule.recorders))
    for group in policy.groups.values():
        yield from (("groups", s) for s in group.members)
    for tag in policy.tag_owners.values():
        yield from (("tagOwners", s) for s in tag.owners)
    for attribute in policy.node_attributes:
        yield from (("nodeAttrs", s) for s in attribute.targets)
    approvers = policy.auto_approvers
    approving = (*approvers.routes.values(), approvers.exit_node, *approvers.services.values())
    yield from (("autoApprovers", s) for selectors in approving for s in selectors)


def tested(policy: Policy) -> Iterator[Selector]:
    """Yield every name in `tests` and `sshTests`."""
    for test in policy.tests:
        yield from (test.source, *(e.who for e in (*test.accept, *test.deny)))
    for ssh_test in policy.ssh_tests:
        yield from (ssh_test.source, *ssh_test.destinations)
