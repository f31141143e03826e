"""What the path session asks its owner to do, and the words both use for it."""

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
class ByDerp:
    """Through a DERP region, to or from a node."""

    region: int
    node: NodePublic


Way = ByUdp | ByDerp


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
    """From now on WireGuard reaches the peer at `direct`, or through DERP when that is None."""

    peer: NodePublic
    direct: ByUdp | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A ping that was asked for by `probe` came back; `latency` is the round trip in seconds."""

    transaction: bytes
    latency: float
    way: Way


@dataclass(frozen=True, slots=True)
class Refresh:
    """Somebody was just told our addresses, and they are old: ask the STUN servers."""


Output = Send | Carry | Moved | Answered | Refresh


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What the netmap says about reaching a peer. `disco` None: only DERP carries to it."""

    key: NodePublic
    disco: DiscoPublic | None = None
    endpoints: tuple[Endpoint, ...] = ()
    home: int = 0  # DERP region, 0 is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading of a peer at the WireGuard device; octets since the device was made."""

    key: NodePublic
    endpoint: Endpoint | None
    received: int
    sent: int
