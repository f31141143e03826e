"""What the path session asks its owner to do, and the words both use for it.

Three kinds of path lead to a peer, the better first:

    direct   ByUdp(endpoint)         WireGuard sends to the peer's address
    relay    ByRelay(server, vni)    through a peer relay, in Geneve
    DERP     ByDerp(region, node)    through the proxy

A relay path comes from a relay client, which does the allocation and the
binding and knows nothing of choice; this session pings, chooses and drops, and
knows nothing of bindings:

    session -> client   SeekRelay(peer)            look for relays that reach the peer
    client -> session   Paths.relay_path_found(peer, RelayPath, now)   our end is bound
    session             pings over it, answers the peer's pings; when a pong comes it is a
                        candidate, and used while no direct path is trusted
    session -> owner    Moved(peer, RelayPath)     WireGuard's endpoint is `RelayPath.endpoint`
                                                   (the kernel adds and removes the header), or
                                                   the proxy's when that is None: then the packets
                                                   come as Carry(ByRelay, packet)
    client -> session   Paths.relay_path_lost(peer, RelayPath, now)    expired, or a new VNI

What a client learns from Moved: while the peer is reached at another endpoint,
packets that still come by its relay must reach WireGuard with that endpoint as
source, else the kernel roams back to the relay.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.wire.disco import Message


@dataclass(frozen=True, slots=True)
class Local:
    """Where on this machine a packet arrived: our address and the number of the interface."""

    address: IPAddress
    interface: int


@dataclass(frozen=True, slots=True)
class ByUdp:
    """Straight to or from an address. `local` None lets the kernel choose the source."""

    endpoint: Endpoint
    local: Local | None = None


@dataclass(frozen=True, slots=True)
class ByRelay:
    """Through the peer relay at `server`, by our place there: a VNI, 1 to 2^24 - 1."""

    server: Endpoint
    vni: int


@dataclass(frozen=True, slots=True)
class ByDerp:
    """Through a DERP region, to or from a node."""

    region: int
    node: NodePublic


Way = ByUdp | ByRelay | ByDerp


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayPath:
    """Our bound end of a place at a peer relay; the other end is the peer's.

    `relay` is the relay's disco key: a later path of the same relay replaces
    the earlier one. `generation` is that of the binding. `endpoint` is what
    WireGuard shall send to, constant for (relay, VNI), when the kernel puts the
    Geneve header in front (data path document, F4); None: user space carries.
    """

    server: Endpoint
    vni: int
    relay: DiscoPublic
    generation: int
    endpoint: Endpoint | None = None

    @property
    def way(self) -> ByRelay:
        return ByRelay(self.server, self.vni)


@dataclass(frozen=True, slots=True)
class Send:
    """Seal this message for `receiver` and send it on its way."""

    receiver: DiscoPublic
    way: Way
    message: Message


@dataclass(frozen=True, slots=True)
class Carry:
    """Send a WireGuard packet of this peer on its way, unchanged."""

    way: Way
    packet: bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """From now on WireGuard reaches the peer by `path`, or through DERP when that is None."""

    peer: NodePublic
    path: ByUdp | RelayPath | None


@dataclass(frozen=True, slots=True)
class SeekRelay:
    """No direct path is trusted while there is traffic: look for a relay that reaches the peer.

    Said at most every 30 seconds for one peer, once a minute while a relay path works.
    """

    peer: NodePublic
    disco: DiscoPublic


@dataclass(frozen=True, slots=True)
class Hold:
    """Bring what the peer's WireGuard sends straight from `endpoint` to `Paths.on_held`.

    The address does not answer our pings, and WireGuard would follow the peer
    to it. Until another is said; None ends it.
    """

    peer: NodePublic
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class Narrow:
    """Whole packets of the tunnel do not reach the peer at `endpoint`, those of 1,280 octets do.

    None: nothing is known against the address in use. Until another is said.
    """

    peer: NodePublic
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A ping that was asked for by `probe` came back; `latency` is the round trip in seconds."""

    transaction: bytes
    latency: float
    way: Way


@dataclass(frozen=True, slots=True)
class Refresh:
    """Somebody was just told our addresses, and they are old: ask the STUN servers."""


Output = Send | Carry | Moved | SeekRelay | Hold | Narrow | Answered | Refresh


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What the netmap says about reaching a peer. `disco` None: only DERP carries to it."""

    key: NodePublic
    disco: DiscoPublic | None = None
    endpoints: tuple[Endpoint, ...] = ()
    home: int = 0  # DERP region, 0 is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading of a peer at the WireGuard device; octets since the device was made.

    `endpoint` None stands for the proxy.
    """

    key: NodePublic
    endpoint: Endpoint | None
    received: int
    sent: int
