"""The policy in force, compiled against the nodes of one world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gatepost.coordination.policy.inventory import TAILNET, members_of
from gatepost.coordination.records import PolicyVersion, User
from gatepost.policy.compiled import Compiled
from gatepost.policy.default import DEFAULT_POLICY
from gatepost.policy.document import Policy
from gatepost.policy.inventory import Inventory, Machine
from gatepost.policy.read import read


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Immutable. `version` None: no policy was ever set, so the default one holds."""

    version: PolicyVersion | None
    compiled: Compiled

    @classmethod
    def of(
        cls,
        version: PolicyVersion | None,
        users: Mapping[int, User],
        known: Rights | None = None,
    ) -> Rights:
        """Return the rights of a mesh without nodes; `known` may have read the same policy.

        Raise `PolicyRefusedError` for a text that is no policy, which none
        that was ever saved is.
        """
        if known is not None and known.version is version:
            policy = known.policy
        else:
            policy = read(DEFAULT_POLICY if version is None else version.text)
        inventory = Inventory(members=members_of(users), tailnet=TAILNET)
        return cls(version=version, compiled=Compiled.of(policy, inventory))

    @property
    def policy(self) -> Policy:
        return self.compiled.policy

    @property
    def inventory(self) -> Inventory:
        return self.compiled.directory.inventory

    def with_machines(self, changes: Mapping[int, Machine | None]) -> Rights:
        """Return the rights when these machines are so, None meaning gone."""
        known = self.inventory.machines
        changed = {i: m for i, m in changes.items() if known.get(i) != m}
        if not changed:
            return self
        machines = dict(known)
        for machine_id, machine in changed.items():
            if machine is None:
                del machines[machine_id]
            else:
                machines[machine_id] = machine
        inventory = replace(self.inventory, machines=machines)
        return replace(self, compiled=self.compiled.after(inventory, changed))


NOBODYS = Rights.of(None, {})  # before there are nodes
