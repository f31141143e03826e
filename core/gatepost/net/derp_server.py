"""A DERP server behind the HTTP server's `Upgrade`, and the small pages around it.

    GET /derp               Upgrade: DERP, or WebSocket with sub-protocol derp
    GET /derp/probe         200, for latency where UDP is blocked
    GET /derp/latency-check the same
    GET /generate_204       204, for captive portals; echoes a challenge
    GET /bootstrap-dns      {}: there are no names that a node could not find by itself

It runs on asyncio's TLS; `gatepost.sessions.derp_server` routes and does not
know. Source: protocol document 3.1 and 2.7.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import string
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.net.derp_connection import (
    BufferedConnection,
    DerpConnection,
    ReadBuffer,
    StreamedConnection,
)
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.tasks import Tasks
from gatepost.net.websocket import accept_websocket
from gatepost.sessions.derp_counters import ClientCounters, RelayCounters
from gatepost.sessions.derp_handshake import Hello, ServerHandshake
from gatepost.sessions.derp_member import RelayLimits
from gatepost.sessions.derp_mesh import NeighbourCounters
from gatepost.sessions.derp_rest import Rest
from gatepost.sessions.derp_server import Relay
from gatepost.wire.derp import VERSION
from gatepost.wire.derp_frames import Restarting
from gatepost.wire.derp_present import PresentFlag

log = logging.getLogger(__name__)

PATHS = frozenset(
    {"/derp", "/derp/probe", "/derp/latency-check", "/generate_204", "/bootstrap-dns"}
)
GREETINGS = 512  # connections at once that have not proved who they are
GREETINGS_EACH = 64  # of them from one address; a site's nodes may share it
TICK = 1.0  # seconds
NOT_A_NODE = "not a node of this network"
_CHALLENGE_LENGTH = 64  # characters
_CHALLENGE_LETTERS = frozenset(string.ascii_letters + string.digits + ".-_:")
_NO_CACHE = ("Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0")

Admit = Callable[[NodePublic, str], Awaitable[bool]]


class DerpServer:
    """One relay. `admit` says whether a node may use it, given its key and IP address.

    To be made on a running loop. `private` is the server's own key; `mesh_key` is 64
    hexadecimal digits that the servers of one region share: who shows it is let in
    without being asked for, and may watch and forward. `clock` counts seconds and never
    goes back; `random` returns as many unpredictable bytes as it is asked for.
    """

    def __init__(
        self,
        private: NodePrivate,
        admit: Admit,
        *,
        mesh_key: str = "",
        limits: RelayLimits | None = None,
        clock: Callable[[], float] | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        limits = limits or RelayLimits()
        self.relay = Relay(self._wake, limits)
        self.handshake = ServerHandshake(private)
        self.buffer = ReadBuffer(limits.gather)
        self.rest = Rest()
        self.random = random
        self._admit = admit
        self._mesh_key = mesh_key
        self.refused: Counter[str] = Counter()  # connections by reason
        self.now = clock or asyncio.get_running_loop().time
        self._connections: set[DerpConnection] = set()
        self._unproven: set[DerpConnection] = set()
        self._tasks = Tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def public(self) -> NodePublic:
        return self.handshake.public

    # --- HTTP -------------------------------------------------------------------
    def handle(self, request: Request) -> Response | Upgrade:
        """Answer a request for one of `PATHS`; 404 for another path."""
        match request.path:
            case "/derp":
                return self.upgrade(request)
            case "/derp/probe" | "/derp/latency-check":
                return _probe(request)
            case "/generate_204":
                return _no_content(request)
            case "/bootstrap-dns":
                return Response(body=b"{}")
            case _:
                return _text(404, "not a path of the relay")

    def upgrade(self, request: Request) -> Response | Upgrade:
        """Take a connection over: `Upgrade: DERP`, or WebSocket with sub-protocol `derp`."""
        wanted = request.headers.get("upgrade", "").lower()
        if request.method != "GET" or wanted not in {"derp", "websocket"}:
            return _text(426, "DERP needs a GET with the header Upgrade: DERP")
        if self._closed or self.relay.full or self._is_besieged(request.peer.address):
            self.refused["full" if self.relay.full else "too many greetings"] += 1
            return _text(503, "the relay takes no more connections now")
        elsewhere = bool(request.headers.get("ideal-node"))
        flags = PresentFlag.NOT_IDEAL if elsewhere else PresentFlag(0)
        if wanted == "websocket":
            return accept_websocket(request, "derp", partial(self._take_stream, flags))
        headers = (("Derp-Version", str(VERSION)), ("Derp-Public-Key", self.public.raw.hex()))
        fast = request.headers.get("derp-fast-start") == "1"  # the client wants no answer's head
        return Upgrade(
            protocol="DERP",
            take=partial(self._take, flags),
            headers=headers,
            raw_response=b"" if fast else None,
        )

    def _take(
        self, flags: PresentFlag, transport: asyncio.Transport, rest: bytes
    ) -> asyncio.BaseProtocol:
        connection = BufferedConnection(self, transport, flags)
        connection.start(rest)
        return connection

    def _take_stream(
        self, flags: PresentFlag, transport: asyncio.Transport, rest: bytes
    ) -> asyncio.BaseProtocol:
        connection = StreamedConnection(self, transport, flags)
        connection.start(rest)
        return connection

    # --- what the operator and the coordination server ask --------------------------
    def counters(self) -> RelayCounters:
        return self.relay.counters()

    def clients(self) -> tuple[ClientCounters, ...]:
        return self.relay.clients()

    def neighbours(self) -> tuple[NeighbourCounters, ...]:
        return self.relay.neighbours()

    def expel(self, key: NodePublic) -> int:
        """Close the connections of a node that may no longer be here; return how many."""
        return self.relay.expel(key)

    async def close(self, *, back_in: float | None = None) -> None:
        """Close all connections; with `back_in` seconds, tell the clients when to return."""
        self._closed = True
        if back_in is not None:
            milliseconds = int(back_in * 1000)
            self.relay.announce(Restarting(reconnect_in=milliseconds, try_for=2 * milliseconds))
        self.relay.flush()
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._connections):
            connection.finish()
        await self._tasks.close()

    # --- what connections ask (`derp_connection.Host`) ------------------------------
    async def admit(self, hello: Hello, address: str) -> str:
        """Return why a client may not enter, "" if it may."""
        if self.is_mesh(hello):
            return ""
        if hello.greeting.mesh_key.strip("0"):
            problem = "wrong mesh key" if self._mesh_key else "this relay has no mesh key"
        else:
            problem = "" if await self._admit(hello.key, address) else NOT_A_NODE
        if problem:
            self.refused[problem] += 1
        return problem

    def is_mesh(self, hello: Hello) -> bool:
        """Say whether the client showed the mesh key, in constant time."""
        shown = hello.greeting.mesh_key.encode()
        return bool(self._mesh_key) and hmac.compare_digest(shown, self._mesh_key.encode())

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def run() -> None:
            await work()

        self._tasks.spawn(run(), name)

    def opened(self, connection: DerpConnection) -> None:
        self._connections.add(connection)
        self._unproven.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._on_timer)

    def proven(self, connection: DerpConnection) -> None:
        self._unproven.discard(connection)

    def closed(self, connection: DerpConnection) -> None:
        self._connections.discard(connection)
        self._unproven.discard(connection)

    # --- time -------------------------------------------------------------------
    def tick(self) -> None:
        """Send keep-alives, end greetings that take too long and clients that do not read."""
        now = self.now()
        for connection in tuple(self._unproven):
            if now >= connection.deadline:
                connection.close("the greeting took too long")
        self.relay.tick(now)

    def _on_timer(self) -> None:
        self.tick()
        self._timer = None
        if self._connections:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._on_timer)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self.relay.flush()
        rest = self.rest.after(self.now())
        if rest > 0:
            # The loop's other work waits as well, no longer than for the turn itself. Not reading
            # from a hundred sockets and reading on would be two hundred system calls instead.
            time.sleep(rest)
            self.rest.woken(self.now())

    def _is_besieged(self, address: str) -> bool:
        alike = sum(connection.address == address for connection in self._unproven)
        return len(self._unproven) >= GREETINGS or alike >= GREETINGS_EACH


def _probe(request: Request) -> Response:
    if request.method not in {"GET", "HEAD"}:
        return _text(405, "GET or HEAD is expected here")
    return Response(headers=(("Access-Control-Allow-Origin", "*"),), content_type="text/plain")


def _no_content(request: Request) -> Response:
    challenge = request.headers.get("x-tailscale-challenge", "")
    headers: tuple[tuple[str, str], ...] = (_NO_CACHE,)
    if 0 < len(challenge) <= _CHALLENGE_LENGTH and _CHALLENGE_LETTERS.issuperset(challenge):
        headers = (_NO_CACHE, ("X-Tailscale-Response", f"response {challenge}"))
    return Response(status=204, headers=headers, content_type="text/plain")


def _text(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode() + b"\n", content_type="text/plain")
