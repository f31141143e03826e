"""What may be wrong with any path to a peer, direct or not. One function, one finding."""

from __future__ import annotations

from gatepost.model.owned import NARROW_MTU
from gatepost.model.resource import Level
from gatepost.sessions.paths_numbers import WIRE_SIZES
from gatepost.sessions.paths_outputs import ByUdp
from gatepost.sessions.paths_sizes import whole_packet
from gatepost.sessions.why_evidence import Evidence, Finding

WRONG_CLOCK = 60.0  # seconds; certificates and handshakes begin to fail at about that
SIZING = 2.0  # seconds for packets of all sizes to come back
LIVELY = 60.0  # seconds in which a path that changes often is counted
FLAPPING = 4  # changes in that time
HANDSHAKE_OLD = 185.0  # seconds; WireGuard makes a new session after 180
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0  # seconds


def expired(evidence: Evidence) -> Finding | None:
    """Look whether the peer's key has run out: nobody talks to it then."""
    peer = evidence.peer
    if not peer.expired:
        return None
    return Finding(
        code="peer-expired",
        text=f"The key of {peer.name} has expired, so no node talks to it.",
        fix=f"Sign in again on {peer.name} (there: gatepost up --force-reauth).",
        level=Level.ERROR,
    )


def offline(evidence: Evidence) -> Finding | None:
    """Look whether the peer is away; an answer just now weighs more than the server's word."""
    peer = evidence.peer
    if peer.online is not False or evidence.is_answered:
        return None
    seen = f", last seen {duration(peer.seen)} ago" if peer.seen is not None else ""
    return Finding(
        code="peer-offline",
        text=f"{peer.name} is not connected to the coordination server{seen}, and does not answer.",
        fix=f"See that {peer.name} is switched on, has internet, and that its Gatepost or"
        " Tailscale is up.",
        level=Level.ERROR,
    )


def control_unreachable(evidence: Evidence) -> Finding | None:
    """Look whether what is known of the peer may be old."""
    control = evidence.control
    if control.connected:
        return None
    heard = f" for {duration(control.heard)}" if control.heard is not None else ""
    trouble = f" ({control.trouble})" if control.trouble else ""
    return Finding(
        code="control-unreachable",
        text=f"The coordination server {control.url} has not been heard{heard}{trouble}:"
        f" addresses of {evidence.peer.name} may be old, and changes do not arrive.",
        fix=f"See that {control.url} can be reached from this box, and that the server runs.",
    )


def clock_wrong(evidence: Evidence) -> Finding | None:
    """Look whether our clock is far from the server's."""
    skew = evidence.control.skew
    if abs(skew) < WRONG_CLOCK:
        return None
    which = "behind" if skew > 0 else "ahead of"
    return Finding(
        code="clock-wrong",
        text=f"The clock of this box is {duration(abs(skew))} {which} the coordination"
        " server's: certificates look invalid, and peers take WireGuard handshakes for replays.",
        fix="Set the clock, and let it be kept: timedatectl set-ntp true.",
    )


def no_derp(evidence: Evidence) -> Finding | None:
    """Look whether there is any relay of last resort."""
    if evidence.derp.regions:
        return None
    return Finding(
        code="no-derp",
        text="The network has no DERP region: peers cannot call each other to open their"
        " NATs, and nothing carries packets where no direct path exists.",
        fix="Switch on the relay of the coordination server ([derp] in coordination.toml).",
        level=Level.ERROR,
    )


def derp_disconnected(evidence: Evidence) -> Finding | None:
    """Look whether we can be called."""
    derp = evidence.derp
    if not derp.home or derp.connected or not derp.regions:
        return None
    return Finding(
        code="derp-disconnected",
        text=f"This box has no connection to its DERP region {derp.name(derp.home)}: peers cannot"
        " call it, and nothing carries packets where no direct path exists.",
        fix="Let this box open TCP connections to the region's servers, usually on port 443.",
        level=Level.ERROR,
    )


def peer_without_home(evidence: Evidence) -> Finding | None:
    """Look whether the peer can be called at all."""
    peer = evidence.peer
    if peer.home or not evidence.derp.regions or evidence.is_direct:
        return None
    return Finding(
        code="peer-without-derp",
        text=f"{peer.name} has not chosen a DERP region, so it cannot be called.",
        fix=f"Let {peer.name} open TCP connections to a DERP server, usually on port 443.",
        level=Level.ERROR,
    )


def no_shared_derp(evidence: Evidence) -> Finding | None:
    """Look whether we know the region where the peer is."""
    home, derp = evidence.peer.home, evidence.derp
    if not home or home in derp.regions or not derp.regions:
        return None
    known = ", ".join(derp.regions.values())
    return Finding(
        code="no-shared-derp",
        text=f"{evidence.peer.name} is reached at DERP region {home}, which this box has not"
        f" been told of; it knows {known}.",
        fix="Give both the same DERP map: they may use different coordination servers or versions"
        " of its settings.",
        level=Level.ERROR,
    )


def silent(evidence: Evidence) -> Finding | None:
    """Look whether anything at all came back from a peer that is said to be there."""
    peer, path = evidence.peer, evidence.path
    unreachable = not evidence.derp.connected or peer.home not in evidence.derp.regions
    if evidence.is_answered or unreachable or path.ping_heard is not None:
        return None
    return Finding(
        code="peer-silent",
        text=f"{peer.name} answers by no path, not even by DERP, though the coordination server"
        + (" says that it is online." if peer.online else " does not say that it is away."),
        fix=f"See that its daemon runs, and that {peer.name} reaches DERP region"
        f" {evidence.derp.name(peer.home)} (there: gatepost netcheck).",
        level=Level.ERROR,
    )


def no_session(evidence: Evidence) -> Finding | None:
    """Look whether the path works and WireGuard does not."""
    tunnel = evidence.tunnel
    if not tunnel.asked or tunnel.echo is not None or evidence.path.latency is None:
        return None
    if tunnel.handshake is not None and tunnel.handshake < HANDSHAKE_OLD:
        return None
    return Finding(
        code="no-session",
        text=f"{evidence.peer.name} answers path discovery, but WireGuard gets no handshake"
        " through.",
        fix="See that the clocks of both are right and have not been set back, that both list"
        " each other (gatepost status), and that no firewall drops all but small packets.",
        level=Level.ERROR,
    )


def echo_dropped(evidence: Evidence) -> Finding | None:
    """Look whether the peer refuses what comes out of the tunnel."""
    tunnel = evidence.tunnel
    if not tunnel.asked or tunnel.echo is not None or tunnel.handshake is None:
        return None
    if tunnel.handshake >= HANDSHAKE_OLD or evidence.path.latency is None:
        return None
    return Finding(
        code="echo-dropped",
        text=f"The tunnel to {evidence.peer.name} is up, but pings through it are not answered:"
        " its policy, or a firewall on it, drops them.",
        fix=f"Allow this box to reach {evidence.peer.name} in the policy, and ICMP in its own"
        " firewall.",
    )


def policy_denies(evidence: Evidence) -> Finding | None:
    """Look whether the peer may open connections to us; answers to ours may always come."""
    if evidence.peer.allowed_in:
        return None
    return Finding(
        code="policy-denies",
        text=f"The policy lets {evidence.peer.name} open no connection to this box; only answers"
        " to what this box begins come in.",
        fix="If it should, grant it in the policy of the coordination server.",
        level=Level.INFO,
    )


_LET_THROUGH = (
    "Raise the MTU of the link in between (PPPoE, another VPN), or let ICMP"
    ' "fragmentation needed" and "packet too big" through the firewalls.'
)


def small_packets(evidence: Evidence) -> Finding | None:
    """Look whether whole tunnel packets fit the path."""
    path = evidence.path
    if not isinstance(path.way, ByUdp) or path.sized is None or path.sized < SIZING:
        return None
    needed = whole_packet(path.way.endpoint.address.version)
    if path.mtu >= needed:
        return None
    if path.mtu >= NARROW_MTU:
        return Finding(
            code="small-packets",
            text=f"The largest packets that came back had {path.mtu} octets, but those of the"
            f" tunnel have up to {needed}: this box cuts longer ones, which costs time. Clients"
            " that are no Gatepost box do not.",
            fix=_LET_THROUGH,
            level=Level.INFO,
        )
    largest = (
        f"The largest packets that came back had {path.mtu} octets"
        if path.mtu
        else f"No packet of {min(WIRE_SIZES)} octets or more came back"
    )
    return Finding(
        code="small-packets",
        text=f"{largest}, but those of the tunnel have up to {needed}: small requests work,"
        " transfers hang.",
        fix=_LET_THROUGH,
    )


def flapping(evidence: Evidence) -> Finding | None:
    """Look whether the path changes all the time."""
    recent = [change for change in evidence.path.changes if change.ago < LIVELY]
    if len(recent) < FLAPPING:
        return None
    return Finding(
        code="path-changes",
        text=f"The path changed {len(recent)} times in the last minute, last because"
        f" {recent[-1].reason.value}.",
        fix="See whether one of the uplinks loses packets, or a NAT forgets its mappings within"
        " seconds.",
    )


def duration(seconds: float) -> str:
    """Say a length of time in one unit, in words."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{max(seconds, 0):.0f} seconds"
