"""Which of two working ways to a peer is the better one. Source: protocol document 2.4."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network

from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.paths_candidates import Candidate

_LOOPBACK_POINTS = 50
_LINK_LOCAL_POINTS = 30
_PRIVATE_POINTS = 20  # nobody bills for it, and it is near
_IPV6_POINTS = 10  # no NAT that forgets
_STICKY_POINTS = 1  # per cent of latency that is not worth a move

# The addresses that RFC 1918 and RFC 4193 call private. `is_private` says it of
# the documentation and test networks too, which may be somebody's internet.
_PRIVATE = tuple(
    IPv4Network(n) if "." in n else IPv6Network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def beats(candidate: Candidate, best: Candidate) -> bool:
    """Say whether to move from a trusted `best` to `candidate`, which just answered.

    A direct address always beats a relay. Another place at the relay in use
    beats the old one, which the relay has given up.
    """
    if candidate.relay is None and best.relay is not None:
        return True
    if candidate.relay is not None and best.relay is None:
        return False
    if candidate.relay and best.relay and candidate.relay.relay == best.relay.relay:
        return candidate.relay != best.relay
    return is_better(
        candidate.endpoint, candidate.latency, best.endpoint, best.latency or candidate.latency
    )


def is_better(
    candidate: Endpoint, candidate_latency: float, best: Endpoint, best_latency: float
) -> bool:
    """Say whether to move from `best` to `candidate`; latencies are in seconds.

    The faster one gets a point for each per cent that it is faster, and each
    gets points for what its address is. An advantage of 1 % alone is noise.
    """
    if candidate == best:
        return False
    faster, slower = sorted((candidate_latency, best_latency))
    points = 100 - int(faster * 100 / slower) if slower > 0 else 0
    mine, theirs = (points, 0) if candidate_latency < best_latency else (0, points)
    mine += _address_points(candidate.address)
    theirs += _address_points(best.address)
    if mine <= _STICKY_POINTS and theirs == 0:
        return False
    return mine > theirs


def _address_points(address: IPAddress) -> int:
    points = _IPV6_POINTS if isinstance(address, IPv6Address) else 0
    if address.is_loopback:
        return points + _LOOPBACK_POINTS
    if address.is_link_local:
        return points + _LINK_LOCAL_POINTS
    if any(address.version == n.version and address in n for n in _PRIVATE):
        return points + _PRIVATE_POINTS
    return points
