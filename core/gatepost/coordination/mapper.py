"""Turns nodes of the world into what clients read. Pure.

Who keeps the bytes, and joins them into messages, is `delta`.
Source: protocol document 1.10, 6.2 and 8.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from gatepost.coordination.records import NOBODY, User
from gatepost.coordination.sight import Sight
from gatepost.coordination.times import wire_time
from gatepost.coordination.world import Node, World
from gatepost.hookspecs import MapItem
from gatepost.model.exits import EVERYWHERE
from gatepost.model.keys import MachinePublic, NodePublic
from gatepost.policy.attributes import SUGGEST_EXIT_NODE
from gatepost.policy.compiled import Compiled
from gatepost.wire.derp_map import DerpMap
from gatepost.wire.hostinfo import Hostinfo, NetInfo
from gatepost.wire.netmap import (
    CapMap,
    Debug,
    DnsConfig,
    MapNode,
    MapResponse,
    PeerChange,
    UserProfile,
)

# Ids of users are small; these two can never be one of them. Both fit a float64.
TAGGED_DEVICES = 1 << 52
LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """What is equal for every node: the settings of the mesh.

    `domain` is the suffix of all names, without dots at its ends.
    """

    domain: str
    derp_map: DerpMap

    def name_of(self, node: Node) -> str:
        """Return the full name with the dot at its end, without which clients go wrong."""
        return f"{node.record.label}.{self.domain}."


def peer(node: Node, mesh: Mesh, sight: Sight) -> MapNode:
    """Return a node as another sees it."""
    record, report, presence = node.record, node.report, node.presence
    addresses = _addresses(node, has_ipv4=sight.has_ipv4)
    routes = tuple(map(str, sight.routes))
    exits = tuple(str(r) for r in node.carried if r in EVERYWHERE) if sight.is_exit else ()
    return MapNode(
        id=record.id,
        stable_id=stable_id(record.id),
        name=mesh.name_of(node),
        user=profile_id(node),
        key=record.key,
        key_expiry=wire_time(record.key_expiry),
        machine=record.machine,
        disco_key=report.disco,
        addresses=addresses,
        allowed_ips=addresses + routes + exits,
        endpoints=report.endpoints or None,
        home_derp=report.home_derp,
        hostinfo=visible_hostinfo(report.hostinfo),
        created=wire_time(record.created),
        cap=report.version,
        tags=record.tags or None,
        primary_routes=routes or None,
        last_seen=None if presence.online else wire_time(report.last_seen),
        online=presence.online,
        machine_authorized=True,
        expired=presence.expired,
        cap_map={SUGGEST_EXIT_NODE: None} if sight.is_exit else None,
    )


def myself(node: Node, mesh: Mesh, compiled: Compiled, items: Iterable[MapItem]) -> MapNode:
    """Return a node as it sees itself.

    Endpoints, relay and presence are left out: the node knows them better, and
    each new self makes the client build everything anew.
    """
    has_ipv4 = not compiled.attributes.without_ipv4 >> node.id & 1
    own = peer(node, mesh, Sight(routes=node.primary_routes, has_ipv4=has_ipv4))
    carried = tuple(str(p) for p in node.carried)
    return msgspec.structs.replace(
        own,
        endpoints=None,
        home_derp=0,
        disco_key=None,
        last_seen=None,
        online=None,
        allowed_ips=(own.addresses or ()) + carried,
        cap_map=capabilities(compiled.capabilities(node.id), mesh, items),
    )


def evicted(key: NodePublic, machine: MachinePublic, node_id: int) -> MapNode:
    """Return the self that sends a client back to its login: its key expired long ago."""
    return MapNode(
        id=node_id,
        stable_id=stable_id(node_id),
        key=key,
        key_expiry=LONG_AGO,
        machine=machine,
        machine_authorized=True,
        expired=True,
    )


def capabilities(granted: CapMap, mesh: Mesh, items: Iterable[MapItem]) -> CapMap:
    """Return what a node may do; an item of a plugin is a capability with one value, or none."""
    found: dict[str, list[Any] | None] = dict(granted)
    found["tailnet-display-name"] = [mesh.domain]
    for item in items:
        found[item.name] = [item.value] if item.value else None
    return found


def patch(old: MapNode, new: MapNode) -> PeerChange | None:
    """Return the small change between two versions of a peer, None if it is not a small one.

    A peer that is heard of for the first time (no disco key or relay before) is
    sent whole, because clients skip a peer that has neither. Online and
    LastSeen are mentioned only if they change: clients distrust a disco key
    that comes with an old LastSeen. Source: protocol document 1.11.
    """
    if (old.disco_key is None) != (new.disco_key is None) or new.home_derp != old.home_derp == 0:
        return None
    if new.home_derp == 0 != old.home_derp or _rest(old) != _rest(new):
        return None
    is_online_new = new.online != old.online
    return PeerChange(
        node_id=new.id,
        derp_region=new.home_derp if new.home_derp != old.home_derp else 0,
        endpoints=(new.endpoints or ()) if new.endpoints != old.endpoints else None,
        disco_key=new.disco_key if new.disco_key != old.disco_key else None,
        online=new.online if is_online_new else None,
        last_seen=new.last_seen if is_online_new else None,
    )


def _rest(node: MapNode) -> MapNode:
    """Return the part of a node that a `PeerChange` cannot carry cheaply."""
    return msgspec.structs.replace(
        node, endpoints=None, home_derp=0, disco_key=None, online=None, last_seen=None
    )


def visible_hostinfo(hostinfo: Hostinfo) -> Hostinfo:
    """Return what others may know of a machine: no latencies, no serial numbers."""
    found = hostinfo.net_info
    return Hostinfo(
        os=hostinfo.os,
        hostname=hostinfo.hostname,
        ipn_version=hostinfo.ipn_version,
        services=hostinfo.services,
        routable_ips=hostinfo.routable_ips,
        ssh_host_keys=hostinfo.ssh_host_keys,
        app_connector=hostinfo.app_connector,
        peer_relay=hostinfo.peer_relay,
        sharee_node=hostinfo.sharee_node,
        wire_ingress=hostinfo.wire_ingress,
        ingress_enabled=hostinfo.ingress_enabled,
        net_info=visible_net_info(found) if found else None,
    )


def visible_net_info(found: NetInfo) -> NetInfo:
    """Return what a peer needs to say why there is no direct path to the machine."""
    return NetInfo(
        mapping_varies_by_dest_ip=found.mapping_varies_by_dest_ip,
        working_ipv6=found.working_ipv6,
        working_udp=found.working_udp,
        have_port_map=found.have_port_map,
        upnp=found.upnp,
        pmp=found.pmp,
        pcp=found.pcp,
    )


def profiles(world: World, nodes: Iterable[Node]) -> tuple[UserProfile, ...]:
    """Return the profile of every user to whom one of the nodes belongs."""
    wanted = dict.fromkeys(profile_id(n) for n in nodes)
    return tuple(profile(world.records.users, i) for i in wanted)


def profile_id(node: Node) -> int:
    """Return the user id on the wire: tagged nodes belong to one made-up user."""
    is_tagged = bool(node.record.tags) or node.record.user_id == NOBODY
    return TAGGED_DEVICES if is_tagged else node.record.user_id


def profile(users: Mapping[int, User], user_id: int) -> UserProfile:
    if user_id == TAGGED_DEVICES:
        return UserProfile(
            id=TAGGED_DEVICES, login_name="tagged-devices", display_name="Tagged Devices"
        )
    user = users[user_id]
    return UserProfile(
        id=user.id, login_name=user.name, display_name=user.display_name or user.name
    )


def settings_of(mesh: Mesh, derp_map: DerpMap, names: DnsConfig, now: float) -> MapResponse:
    """Return the part of a first answer that is about no node."""
    return MapResponse(
        derp_map=derp_map,
        dns_config=names,
        domain=mesh.domain,
        collect_services=False,
        control_time=wire_time(now),
        debug=Debug(disable_log_tail=True),
    )


def stable_id(node_id: int) -> str:
    return f"n{node_id}CNTRL"


def _addresses(node: Node, *, has_ipv4: bool) -> tuple[str, ...]:
    v4, v6 = node.record.addresses
    return (f"{v4}/32", f"{v6}/128") if has_ipv4 else (f"{v6}/128",)
