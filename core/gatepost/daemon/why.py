"""`gatepost why PEER`: try to reach a peer, and say what explains the path that it got.

Path discovery is asked, again and again until the path is direct; an echo goes
through the tunnel; netcheck looks at our own network. All at once, so it takes
as long as the slowest. What it means: `sessions.why`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from gatepost.daemon.ping import ping_address
from gatepost.errors import UnreachableError
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, FilterRule, IPAddress, NetMap, NetworkFacts, Node
from gatepost.model.status import (
    LEVEL_NAMES,
    FindingDocument,
    PathChangeDocument,
    TryDocument,
    WhyDocument,
)
from gatepost.net.path_ports import PingResult
from gatepost.sessions.paths_outputs import ByRelay
from gatepost.sessions.paths_report import PathReport
from gatepost.sessions.relay_client_outputs import Outcome
from gatepost.sessions.why import describe_way, explain_path, summarize
from gatepost.sessions.why_evidence import (
    ControlEvidence,
    DerpEvidence,
    Evidence,
    PeerEvidence,
    RelayEvidence,
    TunnelEvidence,
)

PAUSE = 0.5  # seconds between two questions to path discovery


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """Who is asked. `handshake` gives seconds since 1970, `network` what netcheck found last.

    `survey` looks at our own network; it may raise `UnreachableError`.
    """

    report: Callable[[NodePublic], PathReport | None]
    path_ping: Callable[[NodePublic, float], Awaitable[PingResult]]
    handshake: Callable[[NodePublic], Awaitable[float | None]]
    survey: Callable[[], Awaitable[object]]
    network: Callable[[], NetworkFacts]
    seen: Callable[[], Iterable[Endpoint]]  # our addresses as STUN servers saw them
    control: Callable[[], ControlEvidence]
    derp: Callable[[], DerpEvidence]
    now: Callable[[], float]  # seconds since 1970
    relays: Callable[[NodePublic], Mapping[NodePublic | None, Outcome]] = lambda _: {}


async def why_peer(
    netmap: NetMap, found: tuple[Node, IPAddress], seconds: float, ask: Witnesses
) -> WhyDocument:
    """Try for at most `seconds`; raise `UnreachableError` while the mesh is down."""
    peer, address = found
    _, echo, _ = await asyncio.gather(
        _try(peer.key, seconds, ask), ping_address(address, seconds), ask.survey()
    )
    report, handshake = ask.report(peer.key), await ask.handshake(peer.key)
    if report is None:
        raise UnreachableError("the mesh is down: `gatepost up` first")
    now = ask.now()
    evidence = Evidence(
        peer=_peer(netmap, peer, now),
        path=report,
        network=ask.network(),
        addresses=tuple(endpoint.address for endpoint in ask.seen()),
        control=ask.control(),
        derp=ask.derp(),
        tunnel=TunnelEvidence(
            asked=True, echo=echo, handshake=None if handshake is None else now - handshake
        ),
        relays=_relays(netmap, ask.relays(peer.key)),
    )
    return _document(evidence, address)


def _relays(
    netmap: NetMap, outcomes: Mapping[NodePublic | None, Outcome]
) -> tuple[RelayEvidence, ...]:
    names = {node.key: node.label for node in (netmap.me, *netmap.peers)}
    told = "that the other side told us of"
    return tuple(
        RelayEvidence(name=names.get(key, key.short) if key else told, outcome=outcome)
        for key, outcome in outcomes.items()
    )


async def _try(key: NodePublic, seconds: float, ask: Witnesses) -> None:
    """Make traffic for path discovery until the path is direct or time is up."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        await ask.path_ping(key, left)
        report = ask.report(key)
        if report is None or report.path == "direct":
            return
        await asyncio.sleep(min(PAUSE, max(end - loop.time(), 0.0)))


def _peer(netmap: NetMap, peer: Node, now: float) -> PeerEvidence:
    return PeerEvidence(
        name=peer.label,
        online=peer.online,
        seen=now - peer.last_seen.timestamp() if peer.last_seen else None,
        expired=peer.expired,
        home=peer.home_derp,
        network=peer.network,
        allowed_in=any(_admits(rule, peer.addresses) for rule in netmap.filter or ()),
    )


def _admits(rule: FilterRule, addresses: tuple[IPAddress, ...]) -> bool:
    return bool(rule.destinations) and any(
        source.first.version == address.version
        and int(source.first) <= int(address) <= int(source.last)
        for source in rule.sources
        for address in addresses
    )


def _document(evidence: Evidence, address: IPAddress) -> WhyDocument:
    report = evidence.path
    return WhyDocument(
        target=evidence.peer.name,
        address=str(address),
        summary=summarize(evidence),
        answered=evidence.is_answered,
        path=report.path,
        via=describe_way(report.way, evidence.derp.name),
        latency=report.latency,
        findings=tuple(
            FindingDocument(code=f.code, text=f.text, fix=f.fix, level=LEVEL_NAMES[f.level])
            for f in explain_path(evidence)
        ),
        tries=tuple(_tries(report, evidence)),
        changes=tuple(
            PathChangeDocument(
                ago=change.ago,
                before=describe_way(change.before, evidence.derp.name) or "DERP",
                after=describe_way(change.after, evidence.derp.name) or "DERP",
                reason=change.reason.value,
            )
            for change in report.changes
        ),
    )


def _tries(report: PathReport, evidence: Evidence) -> Iterable[TryDocument]:
    for one in report.tries:
        yield TryDocument(
            path="relay" if isinstance(one.way, ByRelay) else "direct",
            via=describe_way(one.way, evidence.derp.name),
            origin=one.origin.value,
            pings=one.pings,
            answers=one.answers,
            pinged=one.pinged,
            answered=one.answered,
            latency=one.latency,
            mtu=one.mtu,
            trouble=one.trouble,
        )
