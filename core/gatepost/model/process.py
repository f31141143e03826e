"""Resources that are running code or files: services, handlers, certificates, watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal, Protocol

from gatepost.model.keys import NodePrivate
from gatepost.model.netmap import Endpoint, IPAddress, IPNetwork
from gatepost.model.observed import Watch
from gatepost.model.resolver import NameView
from gatepost.model.resource import Merge, Resource


class ServiceContext(Protocol):
    """What a running service may touch."""

    async def answer(self, watch: Watch[Any], value: object) -> None:
        """Publish one observation."""
        ...

    def status(self) -> str:
        """Return the node's status document as JSON text."""
        ...

    def sockets(self) -> tuple[int, ...]:
        """Return the file descriptors of this service's `Listen` sockets, bound and open."""
        ...

    async def answer_names(self, view: NameView) -> None:
        """Answer DNS queries that arrive at these sockets with the box's resolver, for ever."""
        ...


Run = Callable[[ServiceContext, Any], Awaitable[None]]
Serve = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """An async function kept running with these parameters.

    The engine restarts it when the parameters change and cancels it when no
    plugin asks for it. Then `farewell` is run with the same parameters, to take back what
    others were told; not when the daemon ends, and it is cancelled after some seconds, or
    when the service is wanted again.
    """

    identity: ClassVar = ("name",)
    name: str
    run: Run
    params: object = None
    farewell: Run | None = None


@dataclass(frozen=True, slots=True)
class Handler(Resource):
    """One URL of an HTTP surface: the body of a POST in, the body of the answer out.

    At the surface "peer" only peers ask, and only those to whom the policy grants the
    capability; None is every peer. What `serve` raises of `GatepostError` is told to them.
    """

    identity: ClassVar = ("surface", "path")
    surface: Literal["peer", "local"]
    path: str
    serve: Serve
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate(Resource):
    identity: ClassVar = ("name",)
    merge: ClassVar = Merge.UNION
    name: str


@dataclass(frozen=True, slots=True)
class WatchNames(Watch[frozenset[IPAddress]]):
    """The addresses that clients have been given for a domain."""

    domain: str


@dataclass(frozen=True, slots=True)
class WatchFact(Watch[str]):
    """A fact about this machine that a registered probe knows how to read."""

    name: str
    every: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class WatchLinks(Watch[tuple[str, ...]]):
    """The names of the links that are up."""


@dataclass(frozen=True, slots=True)
class LocalNetworks:
    """The networks that this machine's other interfaces are attached to, and its own addresses.

    `severed` are networks of which it has an address, but no cable (or radio) leads there.
    """

    networks: tuple[IPNetwork, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    severed: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchLocalNetworks(Watch[LocalNetworks]):
    """What this machine is attached to, re-read when the kernel says that it changed."""


@dataclass(frozen=True, slots=True)
class WatchMeshRoutes(Watch[tuple[IPNetwork, ...]]):
    """The networks that this machine has routes into the mesh for, since the last round."""


@dataclass(frozen=True, slots=True)
class WatchFirewalls(Watch[tuple[str, ...] | None]):
    """The firewalls and NATs of this machine beside ours, in words; None while that is unknown."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What this node is: its WireGuard key, and the UDP port that peers see (1 to 65535)."""

    private_key: NodePrivate
    port: int


@dataclass(frozen=True, slots=True)
class WatchNodeFacts(Watch[NodeFacts | None]):
    """The key and the port of this node; None before there is a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRelay(Resource):
    """A relay between peers at a UDP port of this node; there is one, or none.

    `port` 0 lets the kernel choose. `static` are addresses that lead here besides
    those that the node finds out itself.
    """

    identity: ClassVar = ()
    port: int
    static: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchPeerRelay(Watch[int]):
    """The UDP port of this node's `PeerRelay`, 0 while it is not open."""
