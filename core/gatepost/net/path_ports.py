"""What the path service needs from its neighbours, and what it tells them.

The WireGuard device and the DERP connections belong to other rooms; these
protocols are the whole of what the path service asks of them, so that a test
can put something else there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import DerpRegion, Endpoint
from gatepost.model.status import PathKind
from gatepost.sessions.paths_outputs import ByRelay, Way
from gatepost.wire.disco_relay import RelayMessage

OwnKind = Literal["local", "stun", "mapped", "guess", "static"]
_WIRE_TYPES: dict[OwnKind, int] = {"local": 1, "stun": 2, "mapped": 3, "guess": 4, "static": 5}


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
    @property
    def last_handshake(self) -> float | None: ...


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


class RelayLink(Protocol):
    """The messages of peer relays, for a relay client or a relay server; nothing here waits.

    What each side has to do with the paths: `sessions.paths_outputs`. A link
    gives back by `PathService.relay_path_found`, `relay_path_lost` and `send_message`.
    """

    def is_known(self, sender: DiscoPublic) -> bool:
        """Say whether a box from this key, which no peer has, is worth opening."""
        ...

    def on_message(
        self, sender: DiscoPublic, node: NodePublic | None, message: RelayMessage, way: Way
    ) -> None:
        """Take a message whose box opened.

        By DERP it is from a peer of the netmap, `node`, and the key is that
        peer's. `BindChallenge` comes by `ByRelay`, with the VNI of the header
        in front and the control bit; `node` is None then.
        """
        ...

    def on_heard(self, sender: DiscoPublic, way: ByRelay) -> None:
        """Note a ping or pong of a peer that came through a relay."""
        ...

    def seek(self, peer: NodePublic, disco: DiscoPublic) -> None:
        """Look for relays that reach a peer: it has traffic and no direct path."""
        ...

    def on_moved(self, peer: NodePublic, endpoint: Endpoint) -> None:
        """Note where WireGuard sends for a peer from now on.

        Packets of the peer that come by relay must reach WireGuard from there;
        a loopback address is the proxy's, and cannot be put into a packet from outside.
        """
        ...


@dataclass(frozen=True, slots=True)
class PathInfo:
    """How packets reach a peer now.

    `kind` "none" is a peer without traffic and without a home region. `endpoint`
    is the peer's for "direct" and the relay's for "relay", with its `vni`;
    `region` (a DERP region id, 0 is none) belongs to "derp".
    `latency` is the round trip in seconds of the last answered ping of that path.
    """

    kind: PathKind
    endpoint: Endpoint | None = None
    region: int = 0
    latency: float | None = None
    active: bool = False  # traffic within the last 45 s
    vni: int = 0


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """An address at which other nodes may reach this one.

    "guess" is what STUN saw with our own port, for a router that maps it although
    it changes the ports of connections; "static" was set by the operator.
    The kinds and their numbers on the wire: protocol document 2.4.
    """

    endpoint: Endpoint
    kind: OwnKind

    @property
    def wire_type(self) -> int:
        """The number for `EndpointTypes` of a map request."""
        return _WIRE_TYPES[self.kind]


@dataclass(frozen=True, slots=True)
class PingResult:
    """One answered or unanswered path ping; `latency` (seconds) None means no answer in time."""

    latency: float | None
    kind: PathKind = "none"
    endpoint: Endpoint | None = None
    region: int = 0
    vni: int = 0
