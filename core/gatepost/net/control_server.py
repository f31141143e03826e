"""The coordination server's door: HTTP/1.1 upgrade, Noise, HTTP/2, then a handler per request.

It knows nothing of what is asked. Every request reaches the handler with the
machine key that Noise has proved; comparing it with the node key in the body
is the handler's duty. Source: protocol document 1.2, 1.3, 1.5.

All output of one turn of the event loop leaves in one write, but a piece of a
stream leaves at once. A reader that is slow is waited for, up to `Limits.stall`
seconds; in the meantime nothing more is taken from the handler's stream and
nothing more is read from the client.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets

from gatepost.errors import Malformed, WireError
from gatepost.model.keys import MachinePrivate
from gatepost.net.control_connection import (
    ControlConnection,
    ControlHandler,
    ControlRequest,
    ControlResponse,
    Limits,
    Shared,
)
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.tasks import Tasks
from gatepost.net.websocket import accept_websocket
from gatepost.wire import noise

__all__ = ["ControlHandler", "ControlRequest", "ControlResponse", "Limits", "NoiseServer"]

log = logging.getLogger(__name__)

PROTOCOL = "tailscale-control-protocol"
HANDSHAKE = "X-Tailscale-Handshake"
MINIMUM_VERSION = 113  # capability version; clients of 2025 and later


class NoiseServer:
    """Takes connections over from the HTTP server; owns them until `close`."""

    def __init__(
        self,
        private: MachinePrivate,
        handler: ControlHandler,
        *,
        limits: Limits | None = None,
        minimum_version: int = MINIMUM_VERSION,
    ) -> None:
        self._private = private
        self._minimum_version = minimum_version
        self._shared = Shared(handler, limits or Limits(), Tasks(), set())

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._shared.connections)

    def upgrade(self, request: Request) -> Response | Upgrade:
        """Answer `POST /ts2021`, or the WebSocket form of it with GET; never waits.

        A request that is neither gets 400 or 405. A client that this server
        will not talk to gets the reason in Noise's own error message, which
        official clients print.
        """
        if len(self._shared.connections) >= self._shared.limits.connections:
            return _refusal(503, "too many connections, try again later")
        if request.method == "GET":
            return self._upgrade_websocket(request)
        if request.method != "POST":
            return _refusal(405, f"method {request.method} is not POST or GET")
        if request.headers.get("upgrade", "").lower() != PROTOCOL:
            return _refusal(400, f"an upgrade to {PROTOCOL} is expected here")
        try:
            initiation = _decode(request.headers.get(HANDSHAKE.lower(), ""))
        except Malformed as error:
            return _refusal(400, str(error))
        return Upgrade(protocol=PROTOCOL, take=_Welcome(self, initiation, request).take)

    def _upgrade_websocket(self, request: Request) -> Response | Upgrade:
        try:
            initiation = _decode(request.query.get(HANDSHAKE, ""))
        except Malformed as error:
            return _refusal(400, str(error))
        return accept_websocket(request, PROTOCOL, _Welcome(self, initiation, request).take)

    def welcome(
        self, initiation: bytes, transport: asyncio.Transport, rest: bytes, peer: str
    ) -> asyncio.BaseProtocol:
        """Answer the handshake on a connection that is ours now."""
        try:
            accepted = self._accept(initiation)
        except WireError as error:
            log.info("handshake from %s refused: %s", peer, error)
            transport.write(noise.write_error(str(error)))
            transport.close()
            return asyncio.Protocol()
        connection = ControlConnection(transport, accepted, self._shared, peer)
        connection.start(accepted.response, rest)
        return connection

    def _accept(self, initiation: bytes) -> noise.Accepted:
        version = noise.initiation_version(initiation)
        if version < self._minimum_version:
            raise Malformed(
                f"capability version {version} is too old: update the client "
                f"(this server speaks {self._minimum_version} and later)"
            )
        return noise.respond(self._private, initiation, secrets.token_bytes(32))

    async def close(self) -> None:
        """End all connections and handlers."""
        for connection in tuple(self._shared.connections):
            connection.shut_down()
        await self._shared.tasks.close()


class _Welcome:
    """The hand-over of one connection, bound to the handshake that came in its head."""

    __slots__ = ("_initiation", "_peer", "_server")

    def __init__(self, server: NoiseServer, initiation: bytes, request: Request) -> None:
        self._server = server
        self._initiation = initiation
        self._peer = request.peer.address

    def take(self, transport: asyncio.Transport, rest: bytes) -> asyncio.BaseProtocol:
        return self._server.welcome(self._initiation, transport, rest, self._peer)


def _decode(text: str) -> bytes:
    if not text:
        raise Malformed(f"{HANDSHAKE} is missing")
    try:
        initiation = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"{HANDSHAKE} is not base64") from error
    noise.initiation_version(initiation)
    return initiation


def _refusal(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode() + b"\n", content_type="text/plain")
