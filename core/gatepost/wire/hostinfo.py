"""What a node says about itself. Source: protocol document 1.7, 1.8 and 5."""

from __future__ import annotations

from msgspec import field

from gatepost.wire.go_json import Message


class Service(Message, frozen=True, kw_only=True):
    """A port that the node offers, such as its PeerAPI (`peerapi4`, `peerapi6`)."""

    proto: str
    port: int
    description: str = ""


class NetInfo(Message, frozen=True, kw_only=True):
    """What the node found out about its network (netcheck)."""

    mapping_varies_by_dest_ip: bool | None = None
    working_ipv6: bool | None = None
    os_has_ipv6: bool | None = None
    working_udp: bool | None = None
    working_icmpv4: bool | None = field(default=None, name="WorkingICMPv4")
    have_port_map: bool = False
    upnp: bool | None = None
    pmp: bool | None = None
    pcp: bool | None = None
    preferred_derp: int = 0
    link_type: str = ""
    derp_latency: dict[str, float] = field(
        default_factory=dict[str, float]
    )  # "<region>-v4" or "-v6" to seconds
    firewall_mode: str = ""


class Hostinfo(Message, frozen=True, kw_only=True):
    """The facts of one machine. All are claims; none is proved."""

    ipn_version: str = ""
    frontend_log_id: str = ""
    backend_log_id: str = ""
    os: str = ""
    os_version: str = ""
    container: bool | None = None
    env: str = ""
    distro: str = ""
    distro_version: str = ""
    distro_code_name: str = ""
    app: str = ""
    desktop: bool | None = None
    package: str = ""
    device_model: str = ""
    push_device_token: str = ""
    hostname: str = ""
    shields_up: bool = False
    sharee_node: bool = False
    no_logs_no_support: bool = False
    wire_ingress: bool = False
    ingress_enabled: bool = False
    allows_update: bool = False
    machine: str = ""
    go_arch: str = ""
    go_arch_var: str = ""
    go_version: str = ""
    routable_ips: tuple[str, ...] | None = None
    request_tags: tuple[str, ...] | None = None
    wol_macs: tuple[str, ...] | None = field(default=None, name="WoLMACs")
    services: tuple[Service, ...] | None = None
    net_info: NetInfo | None = None
    ssh_host_keys: tuple[str, ...] | None = field(default=None, name="sshHostKeys")
    cloud: str = ""
    userspace: bool | None = None
    userspace_router: bool | None = None
    app_connector: bool | None = None
    services_hash: str = ""
    exit_node_id: str = ""
    peer_relay: bool = False
    state_encrypted: bool | None = None
