"""What keeps a direct path to a peer from being found. One function, one finding."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.model.netmap import Endpoint
from gatepost.model.resource import Level
from gatepost.sessions.paths_outputs import ByRelay, ByUdp
from gatepost.sessions.paths_report import Try
from gatepost.sessions.relay_client_outputs import Outcome
from gatepost.sessions.why_evidence import Evidence, Finding

ENOUGH_PINGS = 3  # without an answer before anybody is blamed
LATELY = 10.0  # seconds; an answer before that tells nothing about now
_RELAY_FIXES = {
    Outcome.SILENT: "See that its plugin peer-relay runs, and that the policy grants"
    " tailscale.com/cap/relay on it to this box.",
    Outcome.UNREACHABLE: "Let this box send UDP to it, and see that its port is open.",
    Outcome.BINDING: "Let this box send UDP to it, and see that its port is open.",
    Outcome.BOUND: "Let the other side send UDP to it.",
    Outcome.ONE_SIDED: "Let the other side send UDP to it.",
}
_OPEN = "switch on NAT-PMP, PCP or UPnP in the router, or forward UDP port 41641 there"


def no_discovery(evidence: Evidence) -> Finding | None:
    """Look whether the peer takes part in path discovery."""
    if evidence.path.has_disco:
        return None
    return Finding(
        code="no-discovery",
        text=f"{evidence.peer.name} takes no part in path discovery (it has no discovery key),"
        " so only DERP leads to it.",
        fix=f"Update {evidence.peer.name}, or see that it is not configured for DERP only.",
    )


def not_tried(evidence: Evidence) -> Finding | None:
    """Look whether anything was tried: without traffic nothing is."""
    path = evidence.path
    if not path.has_disco or path.is_active or any(t.pings for t in path.tries):
        return None
    return Finding(
        code="not-tried",
        text=f"Nothing was sent to {evidence.peer.name} lately, so no path was looked for.",
        fix=f"gatepost ping {evidence.peer.name}",
        level=Level.INFO,
    )


def udp_blocked_here(evidence: Evidence) -> Finding | None:
    """Look whether our network carries UDP at all."""
    if evidence.network.udp is not False:
        return None
    return Finding(
        code="udp-blocked-here",
        text="The network of this box carries no UDP: no STUN server answered.",
        fix="Allow outgoing UDP in the firewall here, to ports 3478 and 41641 at least, with"
        " answers coming back.",
    )


def udp_blocked_there(evidence: Evidence) -> Finding | None:
    """Look whether the peer says that its network carries no UDP."""
    if evidence.peer.network.udp is not False:
        return None
    return Finding(
        code="udp-blocked-there",
        text=f"The network of {evidence.peer.name} carries no UDP, as it says itself.",
        fix=f"Allow outgoing UDP in the firewall at {evidence.peer.name}, to ports 3478 and 41641"
        " at least, with answers coming back.",
    )


def no_common_family(evidence: Evidence) -> Finding | None:
    """Look whether both have IPv4, or both IPv6."""
    ours = {address.version for address in evidence.addresses}
    theirs = {endpoint.address.version for endpoint, _ in _addresses(evidence)}
    if not ours or not theirs or ours & theirs:
        return None
    here, there = (" and ".join(f"IPv{v}" for v in sorted(s)) for s in (ours, theirs))
    return Finding(
        code="no-common-family",
        text=f"This box has {here} to the internet, {evidence.peer.name} has {there}: they have"
        " no way in common but a relay.",
        fix="Get IPv6 from the provider of the side that lacks it, or offer a peer relay that"
        " has both.",
    )


def sending_fails(evidence: Evidence) -> Finding | None:
    """Look whether our own machine refused to send the pings."""
    refused = [(endpoint, t.trouble) for endpoint, t in _addresses(evidence) if t.trouble]
    sent = [t for _, t in _addresses(evidence) if t.pings and not t.trouble]
    if not refused or sent:  # an address of a family or network that we lack is nothing special
        return None
    endpoint, trouble = refused[0]
    return Finding(
        code="sending-fails",
        text=f"This box itself cannot send to {endpoint}: {trouble}"
        + (f" ({len(refused)} addresses are like that)." if len(refused) > 1 else "."),
        fix="See its routes (ip route get) and its own firewall's output rules.",
    )


def both_hard(evidence: Evidence) -> Finding | None:
    """Look whether both NATs choose another port for each destination."""
    if not (evidence.network.varies and evidence.peer.network.varies):
        return None
    return Finding(
        code="both-nats-hard",
        text=f"The NATs of this box and of {evidence.peer.name} are both hard (symmetric): they"
        " give each destination another port, so neither side can know where to send.",
        fix=f"On one side: {_OPEN}. Or get IPv6 on both, or offer a peer relay.",
    )


def hard_here(evidence: Evidence) -> Finding | None:
    """Look whether our NAT is hard and the peer's too strict for it."""
    if not evidence.network.varies or evidence.peer.network.varies:
        return None
    return _one_hard(evidence, "this box", f"that of {evidence.peer.name}", "nat-hard-here")


def hard_there(evidence: Evidence) -> Finding | None:
    """Look whether the peer's NAT is hard and ours too strict for it."""
    if not evidence.peer.network.varies or evidence.network.varies:
        return None
    return _one_hard(evidence, evidence.peer.name, "that of this box", "nat-hard-there")


def _one_hard(evidence: Evidence, hard: str, strict: str, code: str) -> Finding | None:
    if not _unanswered(evidence):
        return None
    return Finding(
        code=code,
        text=f"The NAT of {hard} is hard (symmetric): it gives each destination another port."
        f" A strict NAT, as {strict} seems to be, lets that port not in.",
        fix=f"On one side: {_OPEN}. Or get IPv6 on both, or offer a peer relay.",
    )


def answers_dropped(evidence: Evidence) -> Finding | None:
    """Look whether the peer's pings arrive and its answers do not: one side drops."""
    if _is_explained(evidence) or not _unanswered(evidence) or not _is_heard(evidence):
        return None
    return Finding(
        code="answers-dropped",
        text=f"Pings of {evidence.peer.name} arrive here, but none of ours is answered: a"
        " firewall drops our pings or the answers to them.",
        fix=f"Allow UDP port 41641 in the firewall at {evidence.peer.name}, and answers to what"
        " this box sends in the firewall here.",
    )


def pings_dropped(evidence: Evidence) -> Finding | None:
    """Look whether pings in both directions get lost although NATs and UDP are fine."""
    if _is_explained(evidence) or not _unanswered(evidence) or _is_heard(evidence):
        return None
    tried = [t for _, t in _addresses(evidence) if t.pings]
    return Finding(
        code="pings-dropped",
        text=f"{_count(sum(t.pings for t in tried), 'ping')} to {_count(len(tried), 'address')} of"
        f" {evidence.peer.name} got no answer, and none of its own arrived, though both can"
        f" talk by DERP: a firewall drops UDP between them{_unless_hard(evidence)}.",
        fix="Allow UDP port 41641 in the firewalls of both sides, or at least answers from the"
        " address and port that was sent to.",
    )


def port_mapping_off(evidence: Evidence) -> Finding | None:
    """Look whether a router of one side could be asked to open a port."""
    sides = [
        name
        for name, network in (
            ("this box", evidence.network),
            (evidence.peer.name, evidence.peer.network),
        )
        if network.mapping is False
    ]
    blocked = evidence.network.udp is False or evidence.peer.network.udp is False
    if not sides or blocked or not _unanswered(evidence):
        return None
    whose = " and ".join(sides)
    return Finding(
        code="port-mapping-off",
        text=f"No router at {whose} opens ports when asked (NAT-PMP, PCP or UPnP).",
        fix="Switch it on in one of the routers; then the other side's NAT matters no more.",
        level=Level.INFO,
    )


def relay_silent(evidence: Evidence) -> Finding | None:
    """Look whether a peer relay was tried and does not lead there."""
    if said := _relay_trouble(evidence):
        return said
    places = [(t.way.server, t) for t in evidence.path.tries if isinstance(t.way, ByRelay)]
    if evidence.path.path == "relay" or not places or any(_answers(t) for _, t in places):
        return None
    where = ", ".join(sorted({str(server) for server, _ in places}))
    return Finding(
        code="relay-silent",
        text=f"The peer relay at {where} was tried and leads to no answer.",
        fix="Let both sides send UDP to it, and see that its port is open to both.",
    )


def _relay_trouble(evidence: Evidence) -> Finding | None:
    """Say how far we came with each relay, while none of them carries."""
    failed = [r for r in evidence.relays if r.outcome is not Outcome.WORKS]
    if evidence.path.path in {"direct", "relay"} or not failed:
        return None
    return Finding(
        code="relay-silent",
        text=" ".join(f"The peer relay {r.name} {r.outcome.value}." for r in failed),
        fix=_RELAY_FIXES.get(failed[0].outcome, "Try again in a minute."),
    )


def no_relay(evidence: Evidence) -> Finding | None:
    """Look whether a peer relay could help where no direct path exists."""
    path = evidence.path
    if path.path == "relay" or any(isinstance(t.way, ByRelay) for t in path.tries):
        return None
    if evidence.relays:
        return None
    if not _unanswered(evidence) and evidence.network.udp is not False:
        return None
    return Finding(
        code="no-peer-relay",
        text="No peer relay is there for these two, so DERP carries their packets.",
        fix="Enable the plugin peer-relay on a box that both reach by UDP, and grant"
        " tailscale.com/cap/relay on it in the policy.",
        level=Level.INFO,
    )


def _addresses(evidence: Evidence) -> Iterator[tuple[Endpoint, Try]]:
    """Yield the peer's own addresses and what was tried there."""
    return ((t.way.endpoint, t) for t in evidence.path.tries if isinstance(t.way, ByUdp))


def _answers(one: Try) -> bool:
    return one.answered is not None and one.answered < LATELY


def _unanswered(evidence: Evidence) -> bool:
    """Say whether enough was tried to draw conclusions, and nothing answered."""
    tried = [t for _, t in _addresses(evidence) if t.pings and not t.trouble]
    return sum(t.pings for t in tried) >= ENOUGH_PINGS and not any(_answers(t) for t in tried)


def _is_heard(evidence: Evidence) -> bool:
    """Say whether the peer's own pings arrive now."""
    heard = evidence.path.ping_heard
    return heard is not None and heard < LATELY


def _is_explained(evidence: Evidence) -> bool:
    """Say whether something else than a firewall keeps pings from being answered."""
    networks = evidence.network, evidence.peer.network
    blocked = any(n.udp is False or n.varies for n in networks)
    return blocked or not evidence.is_answered or no_common_family(evidence) is not None


def _unless_hard(evidence: Evidence) -> str:
    """Return the other explanation, where nobody could tell whether a NAT is hard."""
    unknown = [
        name
        for name, network in (
            ("this box", evidence.network),
            (evidence.peer.name, evidence.peer.network),
        )
        if network.varies is None
    ]
    if not unknown:
        return ""
    return (
        f", or the NAT of {' or '.join(unknown)} is hard (with fewer than two STUN servers"
        " nobody can tell)"
    )


def _count(number: int, noun: str) -> str:
    plural = {"ping": "pings", "address": "addresses"}[noun]
    return f"{number} {noun if number == 1 else plural}"
