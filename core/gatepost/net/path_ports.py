"""What the path service needs from its neighbours, and what it tells them.

The WireGuard device and the DERP connections belong to other rooms; these
protocols are the whole of what the path service asks of them, so that a test
can put something else there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import DerpRegion, Endpoint
from gatepost.model.status import PathKind


class PeerCounters(Protocol):
    """One WireGuard peer as the device reports it; `linux.wireguard.PeerState` is one."""

    @property
    def public_key(self) -> NodePublic: ...
    @property
    def endpoint(self) -> Endpoint | None: ...
    @property
    def received(self) -> int: ...
    @property
    def sent(self) -> int: ...


class Tunnel(Protocol):
    """The WireGuard device, made by the kernel or by wireguard-go."""

    async def peers(self) -> Sequence[PeerCounters]:
        """Return every peer, nobody while there is no device; raise `OSError` otherwise."""
        ...

    async def set_endpoints(self, endpoints: Mapping[NodePublic, Endpoint]) -> None:
        """Move peers that exist, in one go; a peer that is not there is skipped, never made."""
        ...


class Carrier(Protocol):
    """The DERP connections; `net.derp_client.DerpClients` is one. Nothing here waits."""

    def set_regions(self, regions: tuple[DerpRegion, ...]) -> None: ...
    def set_home(self, region_id: int) -> None: ...
    def send(self, region_id: int, destination: NodePublic, payload: bytes) -> bool: ...
    def connected(self, region_id: int) -> bool: ...
    def reconnect(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PathInfo:
    """How packets reach a peer now.

    `kind` "none" is a peer without traffic and without a home region. `endpoint`
    belongs to "direct", `region` (a DERP region id, 0 is none) to "derp".
    `latency` is the round trip in seconds of the last answered ping of a direct path.
    """

    kind: PathKind
    endpoint: Endpoint | None = None
    region: int = 0
    latency: float | None = None
    active: bool = False  # traffic within the last 45 s


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """An address at which other nodes may reach this one.

    The kinds and their numbers on the wire: protocol document 2.4.
    """

    endpoint: Endpoint
    kind: Literal["local", "stun"]

    @property
    def wire_type(self) -> int:
        """The number for `EndpointTypes` of a map request."""
        return {"local": 1, "stun": 2}[self.kind]


@dataclass(frozen=True, slots=True)
class PingResult:
    """One answered or unanswered path ping; `latency` (seconds) None means no answer in time."""

    latency: float | None
    kind: PathKind = "none"
    endpoint: Endpoint | None = None
    region: int = 0
