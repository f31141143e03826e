"""What each machine may do: the capabilities of the mesh, of its owner, and of `nodeAttrs`.

Source: protocol document 6.2 and 7.9; what `funnel` brings along is from the
captures of policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import NodeAttribute, Policy
from gatepost.policy.expand import Expander
from gatepost.policy.inventory import Machine, Member, Role, Tailnet
from gatepost.policy.selectors import Selector
from gatepost.wire.netmap import CapMap

IS_OWNER = "https://tailscale.com/cap/is-owner"
IS_ADMIN = "https://tailscale.com/cap/is-admin"
DISABLE_IPV4 = "disable-ipv4"
SUGGEST_EXIT_NODE = "suggest-exit-node"
_FUNNEL = "funnel"
_FUNNEL_PORTS = "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"
_FUNNEL_WITHOUT_HTTPS = "https://tailscale.com/cap/warn-funnel-no-https"
_SSH = ("https://tailscale.com/cap/ssh", "ssh-behavior-v1", "ssh-env-vars")
_STANDING = ("https://tailscale.com/cap/file-sharing", "probe-udp-lifetime", "store-appc-routes")
_ONE_ROUTE = {"mac-always": "one-cgnat?v=true", "mac-never": "one-cgnat?v=false"}


class Attributes:
    """The `nodeAttrs` of one policy, with the machines that they are about."""

    def __init__(self, policy: Policy, directory: Directory, expander: Expander) -> None:
        self._policy = policy
        self._inventory = directory.inventory
        self._entries = tuple(
            (entry, _targets(entry.targets, directory, expander))
            for entry in policy.node_attributes
        )
        self.without_ipv4 = self._without_ipv4(directory.everyone)

    def of(self, machine_id: int) -> CapMap:
        """Return the capabilities of a machine, as it sees them itself."""
        machine = self._inventory.machines[machine_id]
        found = _standing(self._inventory.tailnet)
        found.update(_of_owner(machine, self._inventory.members))
        found.update(dict.fromkeys(self._of_policy(machine_id)))
        for entry, machines in self._entries:
            if machines >> machine_id & 1:
                _enter(entry, found)
        if _FUNNEL in found:
            found[_FUNNEL_PORTS] = None
            if not self._inventory.tailnet.has_https:
                found[_FUNNEL_WITHOUT_HTTPS] = None
        return found

    def is_same(self, other: Attributes, machine_id: int) -> bool:
        """Say whether a machine has the same capabilities by both, itself being the same."""
        if self is other:
            return True
        if (
            self._policy is not other._policy
            or self._inventory.members is not other._inventory.members
        ):
            return False
        pairs = zip(self._entries, other._entries, strict=True)
        return not any((one[1] ^ two[1]) >> machine_id & 1 for one, two in pairs)

    def _of_policy(self, machine_id: int) -> Iterable[str]:
        if self._policy.randomize_client_port:
            yield "randomize-client-port"
        if self._policy.one_cgnat_route:
            yield _ONE_ROUTE[self._policy.one_cgnat_route]
        if self.without_ipv4 >> machine_id & 1:
            yield DISABLE_IPV4

    def _without_ipv4(self, everyone: Machines) -> Machines:
        if self._policy.disable_ipv4:
            return everyone
        found = 0
        for entry, machines in self._entries:
            found |= machines if DISABLE_IPV4 in entry.attributes else 0
        return found


def _targets(selectors: Iterable[Selector], directory: Directory, expander: Expander) -> Machines:
    found = 0
    for selector in selectors:
        part = expander.expand(selector)
        found |= part.machines | (directory.at(part.addresses) if part.addresses else 0)
    return found


def _enter(entry: NodeAttribute, found: CapMap) -> None:
    for attribute in entry.attributes:
        found.setdefault(attribute, None)
    for name, values in entry.app.items():
        found[name] = [*(found.get(name) or ()), *map(json.loads, values)]


def _standing(tailnet: Tailnet) -> CapMap:
    """Return what every machine of a mesh has."""
    found: CapMap = dict.fromkeys((*_STANDING, *tailnet.base))
    if tailnet.has_ssh:
        found.update(dict.fromkeys(_SSH))
    if tailnet.has_tailnet_lock:
        found["https://tailscale.com/cap/tailnet-lock"] = None
    if tailnet.auto_update is not None:
        found["default-auto-update"] = [tailnet.auto_update]
    if tailnet.display_name:
        found["tailnet-display-name"] = [tailnet.display_name]
    return found


def _of_owner(machine: Machine, members: Mapping[int, Member]) -> CapMap:
    """Return what a machine may do for its owner; tags belong to the owner of the mesh."""
    if machine.tags:
        return {IS_OWNER: None}
    owner = members.get(machine.owner)
    if owner is None or owner.role not in {Role.OWNER, Role.ADMIN}:
        return {}
    is_owner = owner.role is Role.OWNER
    return {IS_ADMIN: None, IS_OWNER: None} if is_owner else {IS_ADMIN: None}
