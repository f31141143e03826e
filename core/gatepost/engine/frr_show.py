"""What FRR's daemons say of themselves: the JSON of their `show` commands. Pure.

Only fields that are used are read, and what is missing counts as not known: the documents
have dozens more, and other ones from version to version.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from gatepost.errors import Malformed
from gatepost.model.routing import (
    BgpSpeaker,
    LearnedRoute,
    RoutingNeighbour,
    RoutingProtocol,
)

BGP_NEIGHBOURS = "show bgp neighbors json"
OSPF_NEIGHBOURS = "show ip ospf neighbor json"
ESTABLISHED, FULL = "Established", "Full"
NO_ANSWER = "unknown"
_WORDS = 200  # characters of a reason


def routes_command(version: int, protocol: RoutingProtocol) -> str:
    """Return what zebra is asked for the routes of one IP version and protocol."""
    return f"show {'ip' if version == 4 else 'ipv6'} route {protocol} json"  # noqa: PLR2004  # the version of IP


class _NextHop(msgspec.Struct, frozen=True, kw_only=True):
    ip: str = ""


class _Route(msgspec.Struct, frozen=True, kw_only=True):
    selected: bool = False
    installed: bool = False
    nexthops: tuple[_NextHop, ...] = ()


class _BgpPeer(msgspec.Struct, frozen=True, kw_only=True):
    state: str = msgspec.field(name="bgpState", default=NO_ANSWER)
    last_reset: str = msgspec.field(name="lastResetDueTo", default="")


class _OspfPeer(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""  # "Full/DR"; up to FRR 8
    later: str = msgspec.field(name="nbrState", default="")  # the same, from FRR 9 on
    address: str = ""
    later_address: str = msgspec.field(name="ifaceAddress", default="")


class _OspfPeers(msgspec.Struct, frozen=True, kw_only=True):
    neighbors: dict[str, tuple[_OspfPeer, ...]] = {}


def read_routes(text: str, protocol: RoutingProtocol) -> tuple[LearnedRoute, ...]:
    """Return the routes that are in force; raise `Malformed`."""
    found: dict[str, tuple[_Route, ...]] = _decode(text, dict[str, tuple[_Route, ...]])
    in_force = [
        (name, next(hop.ip for hop in route.nexthops if hop.ip))
        for name, routes in found.items()
        for route in routes
        if route.selected and route.installed and any(hop.ip for hop in route.nexthops)
    ]
    try:
        return tuple(
            LearnedRoute(network=ip_network(name), protocol=protocol, gateway=ip_address(hop))
            for name, hop in in_force
        )
    except ValueError as error:
        raise Malformed(f"FRR's answer: {error}") from error


def read_bgp(text: str, speaker: BgpSpeaker) -> tuple[RoutingNeighbour, ...]:
    """Return how it stands with each neighbour that is wanted; raise `Malformed`."""
    found: dict[str, msgspec.Raw] = _decode(text, dict[str, msgspec.Raw])
    wanted = {str(n.address) for n in speaker.neighbours}  # there may be other things beside them
    peers = {name: _decode(raw, _BgpPeer) for name, raw in found.items() if name in wanted}
    return tuple(
        _bgp_neighbour(str(n.address), peers.get(str(n.address))) for n in speaker.neighbours
    )


def _bgp_neighbour(address: str, peer: _BgpPeer | None) -> RoutingNeighbour:
    state = peer.state if peer else NO_ANSWER
    is_up = state == ESTABLISHED
    return RoutingNeighbour(
        protocol="bgp",
        address=ip_address(address),
        is_up=is_up,
        state=state,
        reason="" if is_up or peer is None else peer.last_reset[:_WORDS],
    )


def read_ospf(text: str) -> tuple[RoutingNeighbour, ...]:
    """Return how it stands with each router that was heard; raise `Malformed`."""
    try:
        return tuple(_ospf_neighbours(_decode(text, _OspfPeers)))
    except ValueError as error:
        raise Malformed(f"FRR's answer: {error}") from error


def _ospf_neighbours(found: _OspfPeers) -> Iterator[RoutingNeighbour]:
    for peers in found.neighbors.values():
        for peer in peers:
            state = (peer.later or peer.state).partition("/")[0]
            address = peer.later_address or peer.address
            if address:
                # Two routers of a link that are neither designated nor its backup stay at 2-Way.
                yield RoutingNeighbour(
                    protocol="ospf",
                    address=ip_address(address.partition(":")[0]),
                    is_up=state in {FULL, "2-Way"},
                    state=state,
                )


def _decode(text: str | msgspec.Raw, kind: type[Any]) -> Any:  # the caller names the type
    try:
        return msgspec.json.decode(text or "{}", type=kind)
    except msgspec.DecodeError as error:
        raise Malformed(f"FRR's answer: {error}") from error
