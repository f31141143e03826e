"""A coordination server in memory: it knows nodes, keys and logins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gatepost.errors import RefusedError, UnreachableError
from gatepost.model.keys import MachinePrivate, NodePublic
from gatepost.model.netmap import IPAddress
from gatepost.wire.netmap import FilterRule as WireRule
from gatepost.wire.netmap import MapNode, MapRequest, MapResponse, NetPortRange
from gatepost.wire.register import RegisterRequest, RegisterResponse

URL = "http://server.test/register/1"


@dataclass(slots=True)
class FakeServer:
    """One server that every `FakeClient` of a test talks to.

    `nodes` are registered keys with their ids. `waiting` holds follow-ups until
    `approved` is set. `away` makes everything unreachable.
    """

    keys: set[str] = field(default_factory=set[str])
    nodes: dict[NodePublic, int] = field(default_factory=dict[NodePublic, int])
    expired: set[NodePublic] = field(default_factory=set[NodePublic])
    approved: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    unreachable: set[str] = field(default_factory=set[str])  # URLs at which nobody is
    refuse_map: bool = False
    registers: list[RegisterRequest] = field(default_factory=list[RegisterRequest])
    updates: list[MapRequest] = field(default_factory=list[MapRequest])
    requests: list[tuple[str, str, bytes, float]] = field(
        default_factory=list[tuple[str, str, bytes, float]]
    )
    visits: int = 0
    granted: tuple[str, ...] = ()  # prefixes, told in a first message only
    streams: list[asyncio.Queue[MapResponse | None]] = field(
        default_factory=list[asyncio.Queue[MapResponse | None]]
    )

    def connect(self, url: str, _machine: MachinePrivate) -> FakeClient:
        self.visits += 1
        return FakeClient(self, url)

    def say(self, message: MapResponse | None) -> None:
        """Send a message on every open stream; None ends them."""
        for stream in self.streams:
            stream.put_nowait(message)

    def first_message(self, key: NodePublic, *, expiry: datetime | None = None) -> MapResponse:
        number = self.nodes[key]
        everybody = WireRule(src_ips=("*",), dst_ports=(NetPortRange(ip="*"),))
        return MapResponse(
            node=MapNode(
                id=number,
                name=f"box{number}.mesh.example.",
                key=key,
                addresses=(f"100.64.0.{number}/32",),
                allowed_ips=(f"100.64.0.{number}/32", *self.granted),
                machine_authorized=True,
                key_expiry=expiry,
            ),
            domain="mesh.example",
            packet_filters={"base": (everybody,)},
        )

    def answer(self, request: RegisterRequest) -> RegisterResponse:
        key = request.node_key
        if request.expiry is not None and request.expiry < datetime.now(UTC):
            self.nodes.pop(key, None)
            return RegisterResponse(node_key_expired=True)
        if key in self.expired:
            return RegisterResponse(node_key_expired=True)
        if key in self.nodes:
            return RegisterResponse(machine_authorized=True)
        if request.auth is not None and request.auth.auth_key:
            if request.auth.auth_key not in self.keys:
                raise RefusedError("the auth key is not valid")
        elif not self.approved.is_set():
            return RegisterResponse(auth_url=URL)
        old = self.nodes.pop(request.old_node_key, None)
        self.nodes[key] = old or len(self.nodes) + 1
        return RegisterResponse(machine_authorized=True)


class FakeClient:
    """One connection."""

    def __init__(self, server: FakeServer, url: str) -> None:
        self._server = server
        self._url = url

    async def register(
        self,
        request: RegisterRequest,
        *,
        wait: float | None = None,  # noqa: ARG002  # the real one's
    ) -> RegisterResponse:
        self._reach()
        self._server.registers.append(request)
        if request.followup:
            await self._server.approved.wait()
        return self._server.answer(request)

    async def map(self, request: MapRequest) -> AsyncGenerator[MapResponse]:
        self._reach()
        if self._server.refuse_map or request.node_key not in self._server.nodes:
            raise RefusedError("/machine/map answers 404: no such node")
        stream: asyncio.Queue[MapResponse | None] = asyncio.Queue()
        self._server.streams.append(stream)
        try:
            yield self._server.first_message(request.node_key)
            while (message := await stream.get()) is not None:
                yield message
            raise UnreachableError("the server ends the connection")
        finally:
            self._server.streams.remove(stream)

    async def update(self, request: MapRequest) -> None:
        self._reach()
        self._server.updates.append(request)

    async def request(
        self, method: str, path: str, body: bytes = b"", *, wait: float = 1.0
    ) -> tuple[int, bytes]:
        self._reach()
        self._server.requests.append((method, path, body, wait))
        return 200, b""

    async def close(self) -> None:
        """Nothing is open."""

    def _reach(self) -> None:
        if self._server.away or self._url in self._server.unreachable:
            raise UnreachableError("nobody answers")


async def nobody_answers(_address: IPAddress, _seconds: float) -> float | None:
    """Ping nobody: a daemon without a tunnel."""
    return None
