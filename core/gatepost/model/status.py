"""The documents of the local API: one shape for the command line, the web UI and monitoring.

Times are seconds since 1970 (UTC) or None for never. Octet counts are since
the interface was made. Unknown fields are ignored on the way in, so an older
client can read a newer daemon.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gatepost.model.resource import Level

State = Literal["Stopped", "NeedsLogin", "NeedsMachineAuth", "Starting", "Running"]
PathKind = Literal["direct", "relay", "derp", "none"]
PingKind = Literal["disco", "tsmp", "icmp"]


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of every document."""


class NoticeDocument(Document, frozen=True, kw_only=True):
    code: str
    text: str
    level: Literal["info", "warning", "error"] = "warning"


class SelfDocument(Document, frozen=True, kw_only=True):
    id: int
    name: str  # fully qualified, no trailing dot
    key: str
    addresses: tuple[str, ...]
    user: str = ""
    tags: tuple[str, ...] = ()
    key_expiry: float | None = None


class WireGuardDocument(Document, frozen=True, kw_only=True):
    backend: Literal["kernel", "wireguard-go", "none"]
    device: str
    port: int
    mtu: int


class DerpDocument(Document, frozen=True, kw_only=True):
    """`home` 0: no region chosen yet."""

    home: int = 0
    name: str = ""
    connected: bool = False


class RoutesDocument(Document, frozen=True, kw_only=True):
    advertised: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()


class PeerDocument(Document, frozen=True, kw_only=True):
    """One peer.

    `endpoint` is the address of a direct path, or of a peer relay with our `vni`
    there; `relay` names the DERP region. `active` is traffic within the last 45 s.
    """

    id: int
    name: str
    key: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...] = ()
    user: str = ""
    tags: tuple[str, ...] = ()
    operating_system: str = ""
    online: bool | None = None
    last_seen: float | None = None
    expired: bool = False
    path: PathKind = "none"
    endpoint: str = ""
    vni: int = 0
    relay: str = ""
    active: bool = False
    latency: float | None = None  # seconds, of the path in use
    last_handshake: float | None = None
    received: int = 0  # octets
    sent: int = 0  # octets


class RelayServerDocument(Document, frozen=True, kw_only=True):
    """The relay that this node runs for others.

    `forwarding`: who moves the packets; `reason` says why the kernel does not.
    `sessions` are pairs that are connected, `places` those and the ones that are
    about to be. Packets and octets are those of the places there are now.
    """

    port: int  # UDP; 0 while it is not open
    forwarding: Literal["kernel", "user space"] = "kernel"
    reason: str = ""
    addresses: tuple[str, ...] = ()
    places: int = 0
    sessions: int = 0
    packets: int = 0
    octets: int = 0


class Status(Document, frozen=True, kw_only=True):
    version: str
    state: State
    login_server: str = ""
    auth_url: str = ""
    control_connected: bool = False
    netmap_time: float | None = None
    netmap_stored: bool = False  # running on the stored netmap because the server is away
    domain: str = ""
    node: SelfDocument | None = None
    wireguard: WireGuardDocument | None = None
    derp: DerpDocument = DerpDocument()
    routes: RoutesDocument = RoutesDocument()
    relay_server: RelayServerDocument | None = None  # None: it is no relay
    peers: tuple[PeerDocument, ...] = ()
    notices: tuple[NoticeDocument, ...] = ()


class VersionDocument(Document, frozen=True, kw_only=True):
    """`capability` is the newest capability version of the control protocol that it speaks."""

    version: str
    capability: int = 0
    python: str = ""


class FieldDocument(Document, frozen=True, kw_only=True):
    """One setting of a plugin, enough to draw a form or a flag from."""

    name: str  # as written in the settings file: words joined by "-"
    kind: Literal["text", "number", "switch", "choice", "list"]
    default: str | int | float | bool | tuple[str, ...] | None
    value: str | int | float | bool | tuple[str, ...] | None
    title: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()


class PluginDocument(Document, frozen=True, kw_only=True):
    name: str
    title: str
    summary: str
    enabled: bool
    required: bool = False
    error: str = ""
    fields: tuple[FieldDocument, ...] = ()


class ChangeDocument(Document, frozen=True, kw_only=True):
    """One line of `gatepost plan`."""

    action: Literal["add", "change", "remove"]
    kind: str
    text: str
    plugins: tuple[str, ...] = ()


class ReasonDocument(Document, frozen=True, kw_only=True):
    """One answer of `gatepost explain`: what is there and who wants it."""

    kind: str
    text: str
    plugins: tuple[str, ...]
    source: str = ""  # the input it comes from: the netmap, a setting, an observation
    present: bool = True


class PingDocument(Document, frozen=True, kw_only=True):
    """The result of one try. `latency` is in seconds; None means no answer in time.

    `via` is an address, "address vni N" of a peer relay, or the code of a DERP region.
    """

    target: str
    address: str
    latency: float | None
    path: PathKind = "none"
    via: str = ""
    error: str = ""


class FindingDocument(Document, frozen=True, kw_only=True):
    """One thing that explains a path. `code` is stable; `fix` says what would change it."""

    code: str
    text: str
    fix: str = ""
    level: Literal["info", "warning", "error"] = "warning"


class TryDocument(Document, frozen=True, kw_only=True):
    """One way to a peer that was tried. `pinged` and `answered` are seconds ago; None is never.

    `via` as in `PingDocument`; `origin` says who told of it; `mtu` is in octets, 0 not
    measured; `trouble` is what this machine said when it should send there.
    """

    path: PathKind
    via: str
    origin: str
    pings: int
    answers: int
    pinged: float | None = None
    answered: float | None = None
    latency: float | None = None  # seconds
    mtu: int = 0
    trouble: str = ""


class PathChangeDocument(Document, frozen=True, kw_only=True):
    """The path changed `ago` seconds ago."""

    ago: float
    before: str
    after: str
    reason: str


class WhyDocument(Document, frozen=True, kw_only=True):
    """Why a peer is reached the way it is; `findings` begins with the most important."""

    target: str
    address: str
    summary: str
    answered: bool
    path: PathKind = "none"
    via: str = ""
    latency: float | None = None  # seconds
    findings: tuple[FindingDocument, ...] = ()
    tries: tuple[TryDocument, ...] = ()
    changes: tuple[PathChangeDocument, ...] = ()  # the oldest first


class RegionDocument(Document, frozen=True, kw_only=True):
    id: int
    code: str
    name: str
    latency: float | None = None  # seconds, the best of all below
    latency_v4: float | None = None  # by STUN
    latency_v6: float | None = None
    latency_https: float | None = None  # asked where no UDP came through


class PortMappingDocument(Document, frozen=True, kw_only=True):
    """Which protocols the router speaks, and what it maps to us ("address:port").

    `refusals` say by protocol why it did not map the port. For IPv6 it opens its firewall at most.
    """

    upnp: bool = False
    nat_pmp: bool = False
    pcp: bool = False
    mapped: tuple[str, ...] = ()
    refusals: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    pinholes: tuple[str, ...] | None = None  # "[address]:port by protocol"; None was not asked for
    pinhole_refusals: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class NetcheckDocument(Document, frozen=True, kw_only=True):
    """How this machine sees the internet; None is not known.

    `mapping_varies`: its NAT gives each destination another port ("hard").
    `hairpin`: the NAT lets it reach itself from outside. `port_mapping` None:
    switched off, or there is no gateway to ask.
    """

    udp: bool
    time: float | None = None  # seconds since 1970
    ipv4: str = ""  # our address and port as the STUN servers see them
    ipv6: str = ""
    ipv6_here: bool = False  # the operating system has it
    mapping_varies: bool | None = None
    hairpin: bool | None = None
    port_mapping: PortMappingDocument | None = None
    captive_portal: bool | None = None
    preferred_derp: int = 0
    regions: tuple[RegionDocument, ...] = ()


class LanDocument(Document, frozen=True, kw_only=True):
    """A network here that the mesh may reach, and the `routes` its hosts need by way of `via`.

    `router` is this box's own router in that network; "" if there is none.
    """

    network: str
    via: str
    routes: tuple[str, ...] = ()
    router: str = ""


class ReturnDocument(Document, frozen=True, kw_only=True):
    """Whether a host's answers to `source`, an address of `network`, come back through this box.

    `answer`: from the host itself, from a router that it left them to, or not at all.
    `sender` is the link address that they came from, at `device`; `latency` is in seconds.
    """

    network: str
    source: str
    answer: Literal["host", "router", "none"]
    device: str = ""
    sender: str = ""
    latency: float | None = None


class ReturnPathDocument(Document, frozen=True, kw_only=True):
    """What a host of the LAN answers; `alive` is that it answers anybody, `via` is our address."""

    target: str
    via: str
    alive: bool
    results: tuple[ReturnDocument, ...] = ()


class UpRequest(Document, frozen=True, kw_only=True):
    """What `gatepost up` and `gatepost set` may change; None leaves a setting as it is.

    `exit_node` is a name or address, "" for none. `relay_server_port` makes this node a
    relay for others, 0 at any free port; -1 ends that.
    """

    login_server: str | None = None
    auth_key: str | None = None
    hostname: str | None = None
    accept_routes: bool | None = None
    accept_routes_only: tuple[str, ...] | None = None  # () for all
    accept_routes_except: tuple[str, ...] | None = None
    accept_dns: bool | None = None
    advertise_routes: tuple[str, ...] | None = None
    advertise_tags: tuple[str, ...] | None = None
    snat_subnet_routes: bool | None = None
    relay_server_port: int | None = None
    relay_server_static_endpoints: tuple[str, ...] | None = None
    advertise_exit_node: bool | None = None
    advertise_connector: bool | None = None
    exit_node: str | None = None
    exit_node_allow_lan_access: bool | None = None
    force_reauth: bool = False


class PluginRequest(Document, frozen=True, kw_only=True):
    """Switch a plugin or change some of its settings (name to value); None leaves it.

    A setting whose value is None goes back to its default.
    """

    enabled: bool | None = None
    settings: dict[str, str | int | float | bool | list[str] | None] | None = None


class ProviderRequest(Document, frozen=True, kw_only=True):
    """Import a WireGuard provider; `text` is its file as it is."""

    name: str
    text: str


class ProviderDocument(Document, frozen=True, kw_only=True):
    """An imported provider, without its secrets.

    `key` is the server's public key as `wg` prints it, `carries` "IPv4", "IPv6" or both.
    `received` and `sent` are bytes and, as `last_handshake` (seconds since 1970), of the one
    in use. `error` says why it cannot be used.
    """

    name: str
    used: bool = False
    server: str = ""
    key: str = ""
    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    last_handshake: float | None = None
    received: int = 0
    sent: int = 0
    error: str = ""


class ErrorDocument(Document, frozen=True, kw_only=True):
    """The body of every answer with a status of 400 and above."""

    error: str
    hint: str = ""


LEVEL_NAMES: dict[Level, Literal["info", "warning", "error"]] = {
    Level.INFO: "info",
    Level.WARNING: "warning",
    Level.ERROR: "error",
}
