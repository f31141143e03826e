"""Which node carries which prefix.

A prefix is carried if its node announced it and the administrator approved
it. WireGuard can send a prefix to one peer only, so each prefix has one
primary node. Default routes (exit nodes) have no primary: every client picks
its own. Source: protocol document 6.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network

from gatepost.errors import RefusedError
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import MESH_V4, MESH_V6, IPNetwork

FOUR_VIA_SIX = IPv6Network("fd7a:115c:a1e0:b1a::/64")
LONGEST_LIST = 1024  # prefixes that one node may announce


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A node that could carry prefixes. `online` None: not known since the server's start.

    `preferred` are prefixes that the administrator gave it before others.
    """

    id: int
    routes: tuple[IPNetwork, ...]
    online: bool | None
    preferred: tuple[IPNetwork, ...] = ()


def parse_prefix(text: str) -> IPNetwork:
    """Read "10.1.0.0/16"; raise `RefusedError` if it is no prefix or has host bits."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise RefusedError(
            f"{text!r} is not a network prefix such as 10.1.0.0/16: {error}"
        ) from error


def check_route(prefix: IPNetwork) -> IPNetwork:
    """Return a prefix that a node may carry; raise `RefusedError` for one it may not."""
    if prefix in EVERYWHERE:
        return prefix
    if prefix.is_loopback or prefix.is_link_local or prefix.is_multicast:
        raise RefusedError(f"{prefix} cannot be routed: it is loopback, link-local or multicast")
    if isinstance(prefix, IPv6Network) and prefix.subnet_of(FOUR_VIA_SIX):
        return prefix
    if prefix.overlaps(MESH_V4) or prefix.overlaps(MESH_V6):
        raise RefusedError(f"{prefix} overlaps the mesh's own addresses ({MESH_V4}, {MESH_V6})")
    return prefix


def carried(
    announced: tuple[IPNetwork, ...], approved: tuple[IPNetwork, ...]
) -> tuple[IPNetwork, ...]:
    """Return the prefixes that are both, in the order of the announcement."""
    known = frozenset(approved)  # a router may announce thousands
    return tuple(p for p in announced if p in known)


def primaries(
    carriers: Iterable[Carrier], incumbents: Mapping[IPNetwork, int]
) -> Mapping[IPNetwork, int]:
    """Choose one node for each prefix that is no default route: the first by precedence."""
    return {p: ids[0] for p, ids in precedence(carriers, incumbents).items()}


def precedence(
    carriers: Iterable[Carrier], incumbents: Mapping[IPNetwork, int]
) -> Mapping[IPNetwork, tuple[int, ...]]:
    """Order the nodes of each prefix that is no default route, the best first.

    Who is offline comes last, who is preferred before the others. Apart from that who
    has it keeps it; then comes the node with the lowest id. A prefix whose carriers are
    all offline stays where it was, but for a preference.
    """
    candidates: dict[IPNetwork, list[Carrier]] = {}
    for carrier in carriers:
        for prefix in carrier.routes:
            if prefix not in EVERYWHERE:
                candidates.setdefault(prefix, []).append(carrier)
    return {p: _ordered(p, c, incumbents.get(p)) for p, c in candidates.items()}


def _ordered(
    prefix: IPNetwork, candidates: list[Carrier], incumbent: int | None
) -> tuple[int, ...]:
    def rank(carrier: Carrier) -> tuple[bool, bool, bool, int]:
        is_preferred = prefix in carrier.preferred
        return carrier.online is False, not is_preferred, carrier.id != incumbent, carrier.id

    return tuple(c.id for c in sorted(candidates, key=rank))
