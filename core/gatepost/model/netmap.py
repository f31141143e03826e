"""What the coordination server has told this node about the mesh.

A netmap is one immutable snapshot. Nothing in the node edits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.names import NameServer

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

MESH_V4 = IPv4Network("100.64.0.0/10")
MESH_V6 = IPv6Network("fd7a:115c:a1e0::/48")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A UDP address of a node; `port` is 1 to 65535."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)  # noqa: PLR2004  # the version of IP
        return f"{host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read `192.0.2.1:41641` or `[2001:db8::1]:41641`; raise `ValueError` for anything else."""
    host, _, port = text.rpartition(":")
    is_v6 = host.startswith("[") and host.endswith("]")
    try:
        address = IPv6Address(host[1:-1]) if is_v6 else IPv4Address(host)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an endpoint such as 203.0.113.7:41641") from error
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{text!r} has no port from 1 to 65535 after the last colon")
    return Endpoint(address, int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """What a node's netcheck found out about its network; None is not known.

    `varies`: its NAT gives each destination another port ("hard"). `mapping`:
    its router opens ports when asked (NAT-PMP, PCP or UPnP).
    """

    udp: bool | None = None
    ipv6: bool | None = None
    varies: bool | None = None
    mapping: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerServices:
    """Where a node serves its peers by HTTP; a port of 0 is nowhere.

    `names`: it answers questions for names there, at `/dns-query` (RFC 8484).
    """

    v4: int = 0
    v6: int = 0
    names: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of the mesh, as every other machine sees it.

    `name` is the fully qualified name without the trailing dot. `allowed` is
    what WireGuard lets through: the node's own addresses and the routes it was
    granted. `primary_routes` is the part of `allowed` that is not its own.
    `home_derp` 0 means unknown. `online` None means the server did not say.
    """

    id: int
    key: NodePublic
    name: str
    addresses: tuple[IPAddress, ...]
    allowed: tuple[IPNetwork, ...] = ()
    disco: DiscoPublic | None = None
    endpoints: tuple[Endpoint, ...] = ()
    home_derp: int = 0
    user: int = 0
    tags: tuple[str, ...] = ()
    online: bool | None = None
    last_seen: datetime | None = None
    key_expiry: datetime | None = None
    expired: bool = False
    authorized: bool = True
    capability_version: int = 0
    operating_system: str = ""
    offers_relay: bool = False  # says that it relays for others
    network: NetworkFacts = field(default_factory=NetworkFacts)
    services: PeerServices = PeerServices()
    capabilities: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    @property
    def label(self) -> str:
        """The first part of the name, as people call the machine."""
        return self.name.partition(".")[0]

    def is_called(self, wanted: str) -> bool:
        """Say whether people mean this node: by its name, the first part of it, or an address."""
        word = wanted.lower().rstrip(".")
        names = {self.name.lower().rstrip("."), self.label.lower()}
        return word in names or word in map(str, self.addresses)

    @property
    def routes(self) -> tuple[IPNetwork, ...]:
        """The networks behind the node: `allowed` without its own addresses."""
        return tuple(n for n in self.allowed if not self.owns(n))

    def owns(self, prefix: IPNetwork) -> bool:
        """Say whether a prefix is one of the node's own addresses, alone."""
        is_host = prefix.prefixlen == prefix.max_prefixlen
        return is_host and prefix.network_address in self.addresses


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first` to `last`, both included; 0 to 65535 is any."""

    first: int = 0
    last: int = 65535

    @property
    def is_any(self) -> bool:
        return (self.first, self.last) == (0, 65535)


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses `first` to `last`, both included and of one version."""

    first: IPAddress
    last: IPAddress

    def __contains__(self, address: IPAddress) -> bool:
        is_same = address.version == self.first.version
        return is_same and int(self.first) <= int(address) <= int(self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRule:
    """Who may open connections to what on this node and behind it.

    An empty `protocols` stands for TCP, UDP and ICMP of both versions. Ports
    count only for protocols that have them. Source: protocol document 6.1.
    """

    sources: tuple[AddressRange, ...]
    destinations: tuple[tuple[AddressRange, PortRange], ...]
    protocols: tuple[int, ...] = ()

    def __hash__(self) -> int:
        """Look at both ends only: a rule may have 10,000 sources, and be looked up often."""
        parts = (self.sources, self.destinations)
        return hash((self.protocols, *((len(p), p[:1], p[-1:]) for p in parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the nodes at `sources` may do at those at `destinations`, beside opening connections.

    `capabilities` maps a name, such as `tailscale.com/cap/relay`, to its
    values, each the text of a JSON value. Source: protocol document 6.1.
    """

    sources: tuple[AddressRange, ...]
    destinations: tuple[AddressRange, ...]
    capabilities: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerpNode:
    """One server of a region. `certificate_name` may be `sha256-raw:<hex>` (a pinned leaf)."""

    name: str
    host: str
    port: int = 443  # TCP
    stun_port: int = 3478  # UDP; -1 means none
    address_v4: IPv4Address | None = None
    address_v6: IPv6Address | None = None
    certificate_name: str = ""
    insecure: bool = False
    stun_only: bool = False
    port_80: bool = False  # answers plain HTTP, for captive portal checks


@dataclass(frozen=True, slots=True, kw_only=True)
class DerpRegion:
    """A place with relays that know each other.

    Its latency is multiplied by `score` when a home is chosen: below 1 it is
    favoured. One that may not be home is not measured either.
    """

    id: int
    code: str
    name: str
    nodes: tuple[DerpNode, ...] = ()
    score: float = 1.0
    may_be_home: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRoute:
    """Who knows the names under `suffix`, the servers in the order to ask them.

    `suffix` is in small letters without dots at its ends; "" is every name that
    no other route takes. Without any server the mesh alone answers. `unusable` are
    servers that cannot be understood: who has only those has nobody to ask.
    """

    suffix: str
    servers: tuple[NameServer, ...] = ()
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """What the server says about names. `is_on`: nodes have names (MagicDNS).

    `search` are suffixes to try for short names, the mesh's own first. `records`
    are names beside those of nodes. `fallback` are asked for names that nobody else
    is named for, by nodes that had no server of their own. Names under
    `not_for_others` are resolved for nobody who goes out through this node.
    Source: protocol document 7.1.
    """

    is_on: bool = False
    search: tuple[str, ...] = ()
    routes: tuple[DnsRoute, ...] = ()
    records: tuple[tuple[str, IPAddress], ...] = ()
    fallback: tuple[NameServer, ...] = ()
    not_for_others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetMap:
    """The mesh as one node may see it. `peers` are sorted by id.

    `filter` None means that the server never sent one: nothing may come in.
    `users` maps a user id to the login name.
    """

    me: Node
    peers: tuple[Node, ...] = ()
    domain: str = "mesh.example"
    filter: tuple[FilterRule, ...] | None = None
    grants: tuple[Grant, ...] = ()
    derp: tuple[DerpRegion, ...] = ()
    users: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    ssh_rules: tuple[str, ...] = ()
    dns: DnsSettings = DnsSettings()

    def peer_api(self, peer: Node) -> Endpoint | None:
        """Return where a peer serves HTTP, at an address of a version that this node has, too."""
        for port, version in ((peer.services.v4, 4), (peer.services.v6, 6)):
            theirs = next((a for a in peer.addresses if a.version == version), None)
            if port and theirs and any(a.version == version for a in self.me.addresses):
                return Endpoint(theirs, port)
        return None

    def may(self, source: Node, capability: str, destination: Node | None = None) -> bool:
        """Say whether a node was granted a capability at another one; None is this node.

        The first addresses of one version decide, as in the field. The server
        sends grants at this node only, so about others the answer is no.
        """
        there = destination or self.me
        for mine in there.addresses:
            theirs = next((a for a in source.addresses if a.version == mine.version), None)
            if theirs is not None:
                return any(
                    capability in grant.capabilities
                    and any(theirs in part for part in grant.sources)
                    and any(mine in part for part in grant.destinations)
                    for grant in self.grants
                )
        return False
