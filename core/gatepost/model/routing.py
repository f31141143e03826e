"""Routing protocols in the LAN: what a routing daemon shall say and believe, and how it fares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar, Literal

from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.observed import Watch
from gatepost.model.resource import Resource

RoutingProtocol = Literal["bgp", "ospf"]

DIRECTORY = Path("/run/gatepost-frr")  # where the node and `gatepost-frr` leave each other files
WANTED, STATE = "wanted.json", "state.json"  # see `gatepost.wire.routing_files`


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpNeighbour:
    """A router of the LAN. `password_file` holds one line, which signs the session (RFC 2385)."""

    address: IPAddress
    number: int  # of its autonomous system, 1 to 4294967295
    password_file: Path | None = None

    def __str__(self) -> str:
        return f"{self.address} as {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpSpeaker:
    """A box as a BGP router of its own autonomous system, 1 to 4294967295."""

    number: int
    neighbours: tuple[BgpNeighbour, ...]

    def __str__(self) -> str:
        return f"AS {self.number} with {', '.join(map(str, self.neighbours))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OspfSpeaker:
    """A box as an OSPFv2 router (IPv4) of one area on these links.

    `hello` is in seconds, 1 to 16383; a neighbour is dead after four of them. The line in
    `password_file` signs packets (MD5, key 1; RFC 2328, D.3).
    """

    area: IPv4Address
    links: tuple[str, ...]
    hello: int = 10
    password_file: Path | None = None

    def __str__(self) -> str:
        return f"area {self.area} on {', '.join(self.links)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDaemon(Resource):
    """A routing daemon of our own beside the node; there is one, or none.

    It believes of the LAN's routers only networks in `learn`, and tells them only
    `announce`; None leaves what they are told as it is, while that is not known. What it
    believes stands in the main routing table.
    """

    identity: ClassVar = ()
    router_id: IPv4Address
    learn: tuple[IPNetwork, ...] = ()
    announce: frozenset[IPNetwork] | None = frozenset()
    bgp: BgpSpeaker | None = None
    ospf: OspfSpeaker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedRoute:
    """A network that a router of the LAN leads to, and that is in force on this machine."""

    network: IPNetwork
    protocol: RoutingProtocol
    gateway: IPAddress | None = None  # the first of several


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingNeighbour:
    """How it stands with a router of the LAN; `state` is the protocol's own word for it."""

    protocol: RoutingProtocol
    address: IPAddress
    is_up: bool
    state: str
    reason: str = ""  # why it is not up, in the daemon's words, as far as they are known


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingState:
    """How the routing daemon fares. `problem` says why it does not do all that is wanted."""

    problem: str = ""
    neighbours: tuple[RoutingNeighbour, ...] = ()
    learned: tuple[LearnedRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchRouting(Watch[RoutingState]):
    """How the routing daemon fares."""

    every: timedelta = timedelta(seconds=1)
