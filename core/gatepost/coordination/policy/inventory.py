"""The world as the policy engine sees it: users and nodes without keys and endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.coordination.records import NodeRecord, Report, User
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import IPNetwork
from gatepost.policy.approve import approved_by
from gatepost.policy.directory import Directory
from gatepost.policy.document import Policy
from gatepost.policy.inventory import Fact, Inventory, Machine, Member, Role, Tailnet
from gatepost.wire.hostinfo import Hostinfo

# What this server says of itself to every node. Its names end in its own domain,
# which `mapper` adds; captive portals are looked for at hosts of another company.
TAILNET = Tailnet(auto_update=False, base=("disable-captive-portal-detection",))


def members_of(users: Mapping[int, User]) -> Mapping[int, Member]:
    return {i: Member(id=i, login=u.name, role=Role(u.role)) for i, u in users.items()}


def machine_of(record: NodeRecord, report: Report, carried: tuple[IPNetwork, ...]) -> Machine:
    """Return a node with what it carries.

    It has its facts also where no posture asks for any: a text that is examined
    against this inventory may be the first that does.
    """
    return Machine(
        id=record.id,
        name=record.label,
        addresses=record.addresses,
        owner=record.user_id,
        tags=record.tags,
        routes=tuple(r for r in carried if r not in EVERYWHERE),
        is_exit=any(r in carried for r in EVERYWHERE),
        is_connector=bool(report.hostinfo.app_connector),
        facts=facts_of(report.hostinfo),
    )


def approved_without_asking(
    record: NodeRecord, report: Report, policy: Policy, members: Mapping[int, Member]
) -> tuple[IPNetwork, ...]:
    """Return the announced routes that the policy approves."""
    approvers = policy.auto_approvers
    if not report.routes or not (approvers.routes or approvers.exit_node):
        return ()
    alone = Machine(
        id=record.id,
        name=record.label,
        addresses=record.addresses,
        owner=record.user_id,
        tags=record.tags,
    )
    inventory = Inventory(members=members, machines={record.id: alone})
    return approved_by(policy, Directory.of(inventory), record.id, report.routes)


def facts_of(hostinfo: Hostinfo) -> Mapping[str, Fact]:
    """Return what postures may ask of a device; all of it is the device's own claim."""
    version = hostinfo.ipn_version.partition("-")[0]
    facts: dict[str, Fact] = {
        "node:os": _OS_NAMES.get(hostinfo.os.casefold(), hostinfo.os.casefold()),
        "node:osVersion": hostinfo.os_version,
        "node:tsVersion": version,
        "node:tsReleaseTrack": _track(version),
        "node:tsAutoUpdate": hostinfo.allows_update,
    }
    if hostinfo.state_encrypted is not None:
        facts["node:tsStateEncrypted"] = hostinfo.state_encrypted
    return {name: value for name, value in facts.items() if value != ""}  # False is a fact


_OS_NAMES = {"macos": "macos", "darwin": "macos", "windows": "windows", "linux": "linux"}


def _track(version: str) -> str:
    """Return "stable" for even minor versions, "unstable" for odd ones, "" if it has none."""
    minor = version.split(".")[1:2]
    if not minor or not minor[0].isdigit():
        return ""
    return "unstable" if int(minor[0]) % 2 else "stable"
