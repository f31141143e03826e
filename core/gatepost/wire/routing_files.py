"""The two files between the node and `gatepost-frr`, JSON each.

`wanted.json` is the `RoutingDaemon` of the node's last round; no file means that none is
wanted. `state.json` is how the daemon fares, written anew every second: `at` is the
machine's monotonic clock in seconds, which both programs share, so that silence is noticed.
Passwords are in neither: the files that hold them are named.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import msgspec

from gatepost.errors import Malformed
from gatepost.model.routing import (
    BgpNeighbour,
    BgpSpeaker,
    LearnedRoute,
    OspfSpeaker,
    RoutingDaemon,
    RoutingNeighbour,
    RoutingProtocol,
    RoutingState,
)


class _Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    number: int
    password_file: str | None = None


class _Bgp(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    neighbours: tuple[_Neighbour, ...]


class _Ospf(msgspec.Struct, frozen=True, kw_only=True):
    area: str
    links: tuple[str, ...]
    hello: int
    password_file: str | None = None


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    router_id: str
    learn: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()
    bgp: _Bgp | None = None
    ospf: _Ospf | None = None


class _Learned(msgspec.Struct, frozen=True, kw_only=True):
    network: str
    protocol: RoutingProtocol
    gateway: str | None = None


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    protocol: RoutingProtocol
    address: str
    is_up: bool
    state: str
    reason: str = ""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    problem: str = ""
    neighbours: tuple[_Standing, ...] = ()
    learned: tuple[_Learned, ...] = ()


def write_wanted(wanted: RoutingDaemon) -> bytes:
    """Write it; the same wish always gives the same bytes."""
    content = {
        "router_id": wanted.router_id,
        "learn": wanted.learn,
        "announce": sorted(map(str, wanted.announce or ())),
        "bgp": wanted.bgp,
        "ospf": wanted.ospf,
    }
    return msgspec.json.encode(content, enc_hook=str)


def read_wanted(text: bytes) -> RoutingDaemon:
    """Raise `Malformed` for what `write_wanted` does not write."""
    try:
        read = msgspec.json.decode(text, type=_Wanted)
        return RoutingDaemon(
            router_id=IPv4Address(read.router_id),
            learn=tuple(map(ip_network, read.learn)),
            announce=frozenset(map(ip_network, read.announce)),
            bgp=None if read.bgp is None else _bgp(read.bgp),
            ospf=None if read.ospf is None else _ospf(read.ospf),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(f"what is wanted of the routing daemon: {error}") from error


def _bgp(read: _Bgp) -> BgpSpeaker:
    return BgpSpeaker(
        number=read.number,
        neighbours=tuple(
            BgpNeighbour(
                address=ip_address(n.address),
                number=n.number,
                password_file=_path(n.password_file),
            )
            for n in read.neighbours
        ),
    )


def _ospf(read: _Ospf) -> OspfSpeaker:
    return OspfSpeaker(
        area=IPv4Address(read.area),
        links=read.links,
        hello=read.hello,
        password_file=_path(read.password_file),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def write_state(state: RoutingState, at: float) -> bytes:
    """Write it with the time at which it is true, in seconds of the monotonic clock."""
    content = {
        "at": at,
        "problem": state.problem,
        "neighbours": state.neighbours,
        "learned": state.learned,
    }
    return msgspec.json.encode(content, enc_hook=str)


def read_state(text: bytes) -> tuple[RoutingState, float]:
    """Return the state and its time; raise `Malformed` for what `write_state` does not write."""
    try:
        read = msgspec.json.decode(text, type=_State)
        state = RoutingState(
            problem=read.problem,
            neighbours=tuple(
                RoutingNeighbour(
                    protocol=n.protocol,
                    address=ip_address(n.address),
                    is_up=n.is_up,
                    state=n.state,
                    reason=n.reason,
                )
                for n in read.neighbours
            ),
            learned=tuple(
                LearnedRoute(
                    network=ip_network(r.network),
                    protocol=r.protocol,
                    gateway=None if r.gateway is None else ip_address(r.gateway),
                )
                for r in read.learned
            ),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(f"how the routing daemon fares: {error}") from error
    return state, read.at
