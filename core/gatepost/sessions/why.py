"""Say in words why a peer is reached the way it is, and what would make it better.

    what the path session tried ─┐
    what netcheck found here     ├─> explain_path ─> findings, each with its fix
    what the netmap says of both ┘

Pure: everything it knows is in `Evidence`, so that any case can be written
down. The rules are in `why_rules` (what may be wrong with any path) and
`why_direct` (what keeps a direct one from being found). Their order here is
the order in which an operator should read them.
"""

from __future__ import annotations

from collections.abc import Callable

from gatepost.sessions import why_direct, why_rules
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, ByUdp, Way
from gatepost.sessions.why_evidence import Evidence, Finding

Rule = Callable[[Evidence], Finding | None]

# A peer that is not there explains everything else.
_ABSENT: tuple[Rule, ...] = (why_rules.expired, why_rules.offline)
_ANY_PATH: tuple[Rule, ...] = (
    why_rules.control_unreachable,
    why_rules.clock_wrong,
    why_rules.no_derp,
    why_rules.derp_disconnected,
    why_rules.peer_without_home,
    why_rules.no_shared_derp,
    why_rules.silent,
    why_rules.no_session,
    why_rules.echo_dropped,
    why_rules.policy_denies,
    why_rules.small_packets,
    why_rules.flapping,
)
_NO_DIRECT_PATH: tuple[Rule, ...] = (
    why_direct.no_discovery,
    why_direct.not_tried,
    why_direct.udp_blocked_here,
    why_direct.udp_blocked_there,
    why_direct.no_common_family,
    why_direct.sending_fails,
    why_direct.both_hard,
    why_direct.hard_here,
    why_direct.hard_there,
    why_direct.answers_dropped,
    why_direct.pings_dropped,
    why_direct.port_mapping_off,
    why_direct.relay_silent,
    why_direct.no_relay,
)


def explain_path(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what explains the path, the most important first; nothing when all is well."""
    absent = _found(_ABSENT, evidence)
    if absent:
        return absent + _found((why_rules.control_unreachable,), evidence)
    found = _found(_ANY_PATH, evidence)
    if not evidence.is_direct:
        found += _found(_NO_DIRECT_PATH, evidence)
    return found


def _found(rules: tuple[Rule, ...], evidence: Evidence) -> tuple[Finding, ...]:
    return tuple(finding for rule in rules if (finding := rule(evidence)))


def summarize(evidence: Evidence) -> str:
    """Say in one sentence how the peer is reached."""
    name, path = evidence.peer.name, evidence.path
    over = describe_way(path.way, evidence.derp.name)
    how = {
        "direct": f"directly at {over}",
        "relay": f"through the peer relay {over}",
        "derp": f"through DERP region {over}",
        "none": "",
    }[path.path]
    if not how:
        return f"There is no way to {name}."
    if not evidence.is_answered:
        return f"{name} does not answer; packets for it go {how}."
    latency = path.latency if path.latency is not None else evidence.tunnel.echo
    took = f", {latency * 1000:.3g} ms there and back" if latency is not None else ""
    return f"{name} is reached {how}{took}."


def describe_way(way: Way | None, region_name: Callable[[int], str]) -> str:
    """Say a way as people know it: an address, "1.2.3.4:5 vni 7" of a relay, a DERP region."""
    match way:
        case ByUdp(endpoint, _):
            return str(endpoint)
        case ByRelay(server, vni):
            return f"{server} vni {vni}"
        case ByDerp(region, _):
            return region_name(region)
        case None:
            return ""
