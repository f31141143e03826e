"""The map poll: `/machine/map`. Source: protocol document 1.8 to 1.11.

None and a left-out field both mean "unchanged"; an empty list or map is sent
where it differs from that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import field

from gatepost.model.keys import DiscoPublic, MachinePublic, NodePublic
from gatepost.wire.derp_map import DerpMap
from gatepost.wire.go_json import Message, drop_zero_times
from gatepost.wire.hostinfo import Hostinfo

CapMap = dict[str, list[Any] | None]  # capability to raw JSON values


class MapRequest(Message, frozen=True, kw_only=True):
    """One of three: the stream, the lite update (`omit_peers`), the one-shot."""

    version: int = 0
    compress: str = ""  # "zstd" or nothing
    keep_alive: bool = False
    node_key: NodePublic = NodePublic(bytes(32))
    disco_key: DiscoPublic = DiscoPublic(bytes(32))
    stream: bool = False
    hostinfo: Hostinfo | None = None
    endpoints: tuple[str, ...] | None = None
    endpoint_types: tuple[int, ...] | None = None  # parallel to `endpoints`
    tka_head: str = ""
    read_only: bool = False
    omit_peers: bool = False
    debug_flags: tuple[str, ...] | None = None


class MapNode(Message, frozen=True, kw_only=True):
    """A node as the viewer may see it. `name` ends with a dot."""

    id: int
    stable_id: str = ""
    name: str = ""
    user: int = 0
    sharer: int = 0
    key: NodePublic = NodePublic(bytes(32))
    key_expiry: datetime | None = None
    machine: MachinePublic | None = None
    disco_key: DiscoPublic | None = None
    addresses: tuple[str, ...] | None = None
    allowed_ips: tuple[str, ...] | None = None  # absent: the addresses
    endpoints: tuple[str, ...] | None = None
    derp: str = ""  # "127.3.3.40:<region>", the form before HomeDERP
    home_derp: int = 0
    hostinfo: Hostinfo | None = None
    created: datetime | None = None
    cap: int = 0
    tags: tuple[str, ...] | None = None
    primary_routes: tuple[str, ...] | None = None
    last_seen: datetime | None = None
    online: bool | None = None
    machine_authorized: bool = False
    cap_map: CapMap | None = None
    expired: bool = False
    is_wire_guard_only: bool = False
    is_jailed: bool = False

    def __post_init__(self) -> None:
        drop_zero_times(self, "key_expiry", "created", "last_seen")


class PeerChange(Message, frozen=True, kw_only=True):
    """A small change of one peer; None is unchanged. Go's zero time in `key_expiry` is never."""

    node_id: int
    derp_region: int = 0
    cap: int = 0
    cap_map: CapMap | None = None
    endpoints: tuple[str, ...] | None = None
    key: NodePublic | None = None
    disco_key: DiscoPublic | None = None
    online: bool | None = None
    last_seen: datetime | None = None
    key_expiry: datetime | None = None


class PortRange(Message, frozen=True, kw_only=True):
    first: int = 0
    last: int = 0


class NetPortRange(Message, frozen=True, kw_only=True):
    ip: str
    ports: PortRange = PortRange()


class CapGrant(Message, frozen=True, kw_only=True):
    dsts: tuple[str, ...] = ()
    caps: tuple[str, ...] | None = None
    cap_map: CapMap | None = None


class FilterRule(Message, frozen=True, kw_only=True):
    """Either `dst_ports` or `cap_grant`. Source: protocol document 6.1."""

    src_ips: tuple[str, ...] = ()
    dst_ports: tuple[NetPortRange, ...] | None = None
    ip_proto: tuple[int, ...] | None = None
    cap_grant: tuple[CapGrant, ...] | None = None


class UserProfile(Message, frozen=True, kw_only=True):
    id: int
    login_name: str = ""
    display_name: str = ""
    profile_pic_url: str = ""


class Resolver(Message, frozen=True, kw_only=True):
    """`addr` in one of the forms of protocol document 7.1; the rest seldom there."""

    addr: str = ""
    bootstrap_resolution: tuple[str, ...] | None = None
    use_with_exit_node: bool = False


class DnsRecord(Message, frozen=True, kw_only=True):
    name: str = ""
    type: str = ""
    value: str = ""


class DnsConfig(Message, frozen=True, kw_only=True):
    resolvers: tuple[Resolver, ...] | None = None
    routes: dict[str, tuple[Resolver, ...] | None] | None = None
    domains: tuple[str, ...] | None = None
    proxied: bool = False
    extra_records: tuple[DnsRecord, ...] | None = None
    fallback_resolvers: tuple[Resolver, ...] | None = None
    exit_node_filtered_set: tuple[str, ...] | None = None


class Debug(Message, frozen=True, kw_only=True):
    sleep_seconds: float = 0.0
    disable_log_tail: bool = False


class PingRequest(Message, frozen=True, kw_only=True):
    """The server asks for a sign of life, or for a request to the node itself (c2n)."""

    url: str = ""
    url_is_noise: bool = field(default=False, name="URLIsNoise")
    log: bool = False
    types: str = ""
    ip: str = ""
    payload: str = ""  # base64


class PingResponse(Message, frozen=True, kw_only=True):
    """What a node found when the server asked it to ping another; `err` "" is an answer."""

    type: str = ""
    ip: str = ""
    err: str = ""
    latency_seconds: float = 0.0


class MapResponse(Message, frozen=True, kw_only=True):
    """One frame of the stream.

    `problems` is never on the wire: the reader puts there what it had to leave out.
    """

    keep_alive: bool = False
    ping_request: PingRequest | None = None
    node: MapNode | None = None
    derp_map: DerpMap | None = field(default=None, name="DERPMap")
    peers: tuple[MapNode, ...] | None = None
    peers_changed: tuple[MapNode, ...] | None = None
    peers_removed: tuple[int, ...] | None = None
    peers_changed_patch: tuple[PeerChange, ...] | None = None
    peer_seen_change: dict[int, bool] | None = None
    online_change: dict[int, bool] | None = None
    dns_config: DnsConfig | None = None
    domain: str = ""
    collect_services: bool | None = None
    packet_filter: tuple[FilterRule, ...] | None = None
    packet_filters: dict[str, tuple[FilterRule, ...] | None] | None = None
    user_profiles: tuple[UserProfile, ...] | None = None
    health: tuple[str, ...] | None = None
    ssh_policy: dict[str, Any] | None = None
    control_time: datetime | None = None
    debug: Debug | None = None
    problems: tuple[str, ...] = field(default=(), name="gatepost problems")
