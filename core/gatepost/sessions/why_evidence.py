"""What is known when somebody asks why a peer is reached the way it is, and what is found out."""

from __future__ import annotations

from dataclasses import dataclass, field

from gatepost.model.netmap import IPAddress, NetworkFacts
from gatepost.model.resource import Level
from gatepost.sessions.paths_report import PathReport
from gatepost.sessions.relay_client_outputs import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that explains a path. `code` is stable; `fix` "" is nothing to do."""

    code: str
    text: str
    fix: str = ""
    level: Level = Level.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlEvidence:
    """The coordination server. `heard` is seconds ago; `skew` how far it is ahead of our clock."""

    url: str
    connected: bool
    heard: float | None = None
    skew: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerpEvidence:
    """The relays of last resort. `regions` maps the ids of the netmap to codes."""

    regions: dict[int, str] = field(default_factory=dict[int, str])
    home: int = 0
    connected: bool = False

    def name(self, region: int) -> str:
        return self.regions.get(region, str(region))


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEvidence:
    """What the netmap says of the peer. `seen` is seconds ago."""

    name: str
    online: bool | None = None
    seen: float | None = None
    expired: bool = False
    home: int = 0
    network: NetworkFacts = field(default_factory=NetworkFacts)
    allowed_in: bool = True  # by our packet filter, to anything at all


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelEvidence:
    """What came back through the tunnel just now.

    `echo` is the latency of an answered echo request in seconds, `handshake`
    the seconds since WireGuard's last one; None: there was none.
    """

    asked: bool = False
    echo: float | None = None
    handshake: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayEvidence:
    """How far we came with one peer relay."""

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known. `network` is what netcheck found here, `addresses` what STUN saw."""

    peer: PeerEvidence
    path: PathReport
    network: NetworkFacts
    addresses: tuple[IPAddress, ...] = ()
    control: ControlEvidence
    derp: DerpEvidence
    tunnel: TunnelEvidence = field(default_factory=TunnelEvidence)
    relays: tuple[RelayEvidence, ...] = ()

    @property
    def is_direct(self) -> bool:
        return self.path.path == "direct"

    @property
    def is_answered(self) -> bool:
        """Whether the peer's path discovery or the peer itself answered, by whatever way."""
        return self.is_direct or self.path.latency is not None or self.tunnel.echo is not None
