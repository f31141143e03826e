"""Puts the status document together. No I/O: everything is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from gatepost import __version__
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, NetMap, Node
from gatepost.model.resource import Notice
from gatepost.model.status import (
    LEVEL_NAMES,
    DerpDocument,
    NoticeDocument,
    PeerDocument,
    RelayServerDocument,
    RoutesDocument,
    SelfDocument,
    State,
    Status,
    WireGuardDocument,
)
from gatepost.net.path_ports import PathInfo
from gatepost.net.relay_server import RelayState


class PeerNumbers(Protocol):
    """What WireGuard counts for a peer; `linux.wireguard_state.PeerState` is one."""

    @property
    def public_key(self) -> NodePublic: ...
    @property
    def endpoint(self) -> Endpoint | None: ...
    @property
    def last_handshake(self) -> float | None: ...
    @property
    def received(self) -> int: ...
    @property
    def sent(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How things are with the coordination server."""

    wanted: bool
    logged_in: bool
    server: str = ""
    auth_url: str = ""
    connected: bool = False
    heard: float | None = None  # seconds since 1970
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that status says."""

    login: Login
    netmap: NetMap | None = None
    netmap_stored: bool = False
    applied: bool = False  # a round has ended with this netmap
    backend: Literal["kernel", "wireguard-go", "none"] = "none"
    device: str = ""
    port: int = 0
    mtu: int = 0
    home: int = 0
    home_connected: bool = False
    advertised: tuple[str, ...] = ()
    accept_routes: bool = False
    relay: RelayState | None = None
    paths: Mapping[NodePublic, PathInfo] = field(default_factory=dict[NodePublic, PathInfo])
    numbers: Sequence[PeerNumbers] = ()
    notices: Iterable[Notice] = ()


def make_status(facts: Facts, *, peers: bool = True) -> Status:
    login, netmap = facts.login, facts.netmap
    return Status(
        version=__version__,
        state=state_of(facts),
        login_server=login.server,
        auth_url=login.auth_url,
        control_connected=login.connected,
        netmap_time=login.heard,
        netmap_stored=facts.netmap_stored,
        domain=netmap.domain if netmap else "",
        node=_self(netmap) if netmap else None,
        wireguard=WireGuardDocument(
            backend=facts.backend, device=facts.device, port=facts.port, mtu=facts.mtu
        ),
        derp=DerpDocument(
            home=facts.home, name=_region(netmap, facts.home), connected=facts.home_connected
        ),
        routes=_routes(facts),
        relay_server=_relay_server(facts.relay) if facts.relay else None,
        peers=tuple(_peers(facts)) if peers else (),
        notices=tuple(
            NoticeDocument(code=n.code, text=n.text, level=LEVEL_NAMES[n.level])
            for n in sorted(set(facts.notices), key=lambda n: (-n.level, n.code, n.text))
        ),
    )


def state_of(facts: Facts) -> State:
    """Return the one word for how the node is; the words are those that people know."""
    if not facts.login.wanted:
        return "Stopped"
    if facts.netmap is None:
        waiting = facts.login.auth_url or facts.login.refused or not facts.login.logged_in
        return "NeedsLogin" if waiting else "Starting"
    if not facts.netmap.me.authorized:
        return "NeedsMachineAuth"
    return "Running" if facts.applied else "Starting"


def _self(netmap: NetMap) -> SelfDocument:
    me = netmap.me
    return SelfDocument(
        id=me.id,
        name=me.name,
        key=str(me.key),
        addresses=tuple(str(a) for a in me.addresses),
        user=netmap.users.get(me.user, ""),
        tags=me.tags,
        key_expiry=_seconds(me.key_expiry),
    )


def _relay_server(relay: RelayState) -> RelayServerDocument:
    return RelayServerDocument(
        port=relay.port,
        forwarding="user space" if relay.trouble else "kernel",
        reason=relay.trouble,
        addresses=tuple(str(a) for a in relay.addresses),
        places=relay.places,
        sessions=relay.bound,
        packets=relay.packets,
        octets=relay.octets,
    )


def _routes(facts: Facts) -> RoutesDocument:
    netmap = facts.netmap
    if netmap is None:
        return RoutesDocument(advertised=facts.advertised)
    accepted = (
        {str(r) for p in netmap.peers for r in p.routes} if facts.accept_routes else set[str]()
    )
    return RoutesDocument(
        advertised=facts.advertised,
        approved=tuple(str(r) for r in netmap.me.routes),
        accepted=tuple(sorted(accepted)),
    )


def _peers(facts: Facts) -> Iterable[PeerDocument]:
    if facts.netmap is None:
        return
    numbers = {n.public_key: n for n in facts.numbers}
    for peer in facts.netmap.peers:
        yield _peer(facts.netmap, peer, facts.paths.get(peer.key), numbers.get(peer.key))


def _peer(
    netmap: NetMap, peer: Node, path: PathInfo | None, numbers: PeerNumbers | None
) -> PeerDocument:
    path = path or PathInfo("none")
    return PeerDocument(
        id=peer.id,
        name=peer.name,
        key=str(peer.key),
        addresses=tuple(str(a) for a in peer.addresses),
        routes=tuple(str(r) for r in peer.routes),
        user=netmap.users.get(peer.user, ""),
        tags=peer.tags,
        operating_system=peer.operating_system,
        online=peer.online,
        last_seen=_seconds(peer.last_seen),
        expired=peer.expired,
        path=path.kind,
        endpoint=str(path.endpoint) if path.endpoint and path.kind in {"direct", "relay"} else "",
        vni=path.vni,
        relay=_region(netmap, path.region) if path.kind == "derp" else "",
        active=path.active,
        latency=path.latency,
        last_handshake=numbers.last_handshake if numbers else None,
        received=numbers.received if numbers else 0,
        sent=numbers.sent if numbers else 0,
    )


def _region(netmap: NetMap | None, number: int) -> str:
    regions = netmap.derp if netmap else ()
    return next((r.code or r.name for r in regions if r.id == number), "")


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time else None
