"""The path session's answers in the words of `net.path_ports`."""

from __future__ import annotations

from gatepost.model.netmap import Node
from gatepost.net.path_ports import PathInfo, PingResult
from gatepost.sessions.paths_outputs import Answered, ByDerp, ByRelay, ByUdp, PeerFacts
from gatepost.sessions.paths_peer import PeerPath, State


def read_facts(node: Node) -> PeerFacts:
    """Return what matters of a node for reaching it."""
    return PeerFacts(key=node.key, disco=node.disco, endpoints=node.endpoints, home=node.home_derp)


def make_info(peer: PeerPath, now: float) -> PathInfo:
    """Say how packets reach a peer now."""
    active = peer.state(now) in {State.SEEKING, State.RELAYED, State.DIRECT}
    if peer.direct:
        return PathInfo("direct", peer.direct.endpoint, 0, peer.latency, active)
    if peer.relay:
        return PathInfo("relay", peer.relay.server, 0, peer.latency, active, peer.relay.vni)
    if peer.region:
        return PathInfo("derp", None, peer.region, peer.derp_latency, active)
    return PathInfo("none", active=active)


def make_ping_result(answer: Answered) -> PingResult:
    """Say which way an answered ping went."""
    match answer.way:
        case ByUdp(endpoint, _):
            return PingResult(answer.latency, "direct", endpoint)
        case ByRelay(server, vni):
            return PingResult(answer.latency, "relay", server, 0, vni)
        case ByDerp(region, _):
            return PingResult(answer.latency, "derp", None, region)
