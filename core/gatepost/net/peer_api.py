"""The HTTP server for peers: who asks is known by the address, which WireGuard has proved.

    GET /            what this is
    /dns-query       questions for names (RFC 8484), see `gatepost.sessions.doh_requests`
    POST /...        handlers of plugins, each for peers that were granted its capability

Nobody but peers gets an answer: of everybody else the connection is closed unread.
Source: protocol document 5.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from gatepost.errors import GatepostError, Malformed
from gatepost.model.netmap import IPAddress, NetMap, Node
from gatepost.model.process import Handler
from gatepost.net.http_server import HttpServer, Limits, Peer, Request, Response, serve
from gatepost.sessions.doh_requests import (
    LARGEST,
    MEDIA_TYPE,
    plain_answer,
    plain_query,
    read_doh,
)
from gatepost.sessions.peer_api import Callers, is_meant, may_ask_names

log = logging.getLogger(__name__)

LIMITS = Limits(
    body=LARGEST + 1, connections=512, idle=30.0, stall=10.0, head=16 << 10, per_address=32
)
PATIENCE = 6.0  # seconds for an answer; what asks gives up after five to ten
_IP_FREEBIND = 15  # Linux: bind an address that is not there yet
_BACKLOG = 128
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
# A browser must make nothing of what it gets here.
_HARDENED = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)

Answer = Callable[[bytes, Node], Awaitable[bytes]]


@dataclass(slots=True, kw_only=True)
class PeerApiServer:
    """The server. `netmap` is None while there is none; `answer` answers a DNS query.

    `answer` None: this node answers no names. It may raise `Malformed`.
    """

    netmap: NetMap | None = None
    answer: Answer | None = None
    handlers: Mapping[str, Handler] = field(default_factory=dict[str, Handler])  # by path
    _callers: Callers = field(default_factory=Callers)

    async def serve(self, sockets: Sequence[socket.socket]) -> HttpServer:
        """Serve on bound sockets until the server that is returned is closed."""
        return await serve(self._handle, sockets, limits=LIMITS, admits=self._admits)

    def _admits(self, caller: Peer) -> bool:
        return self._peer(caller) is not None

    def _peer(self, caller: Peer) -> Node | None:
        return None if self.netmap is None else self._callers.peer_at(self.netmap, caller.address)

    async def _handle(self, request: Request) -> Response:
        netmap = self.netmap
        peer = self._peer(request.peer)
        if netmap is None or peer is None:  # it has left since it connected
            return _text(HTTPStatus.FORBIDDEN, "you are no peer of this node")
        if not is_meant(netmap, request.headers):
            return _text(HTTPStatus.FORBIDDEN, "this request is not meant for this node")
        return await self._route(netmap, peer, request)

    async def _route(self, netmap: NetMap, peer: Node, request: Request) -> Response:
        if request.path == "/dns-query":
            return await self._names(netmap, peer, request)
        if handler := self.handlers.get(request.path):
            return await _handled(handler, netmap, peer, request)
        if request.path != "/":
            return _text(HTTPStatus.NOT_FOUND, f"{request.path} is not offered here")
        if request.method not in {"GET", "HEAD"}:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not offered here")
        return _text(HTTPStatus.OK, f"This is {netmap.me.name}. You are {peer.name}.")

    async def _names(self, netmap: NetMap, peer: Node, request: Request) -> Response:
        if self.answer is None:
            return _text(HTTPStatus.NOT_IMPLEMENTED, "this node answers no names")
        if not may_ask_names(netmap, peer, request.peer.address):
            return _text(
                HTTPStatus.FORBIDDEN,
                "the policy does not let you reach the internet, or apps, through this node",
            )
        try:
            async with asyncio.timeout(PATIENCE):
                return await _answered(self.answer, peer, request)
        except Malformed as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        except TimeoutError:
            return _text(HTTPStatus.GATEWAY_TIMEOUT, "no name server answered in time")


async def _handled(handler: Handler, netmap: NetMap, peer: Node, request: Request) -> Response:
    """Let a plugin answer, if the policy granted the peer what it takes."""
    needed = handler.capability
    if needed is not None and not netmap.may(peer, needed):
        return _text(HTTPStatus.FORBIDDEN, f"the policy does not grant you {needed} here")
    if request.method != "POST":
        return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not offered here")
    try:
        async with asyncio.timeout(PATIENCE):
            body = await handler.serve(request.body)
    except GatepostError as error:
        return _text(HTTPStatus.BAD_REQUEST, str(error))
    except TimeoutError:
        return _text(HTTPStatus.GATEWAY_TIMEOUT, "no answer in time")
    except Exception:  # a stranger's code
        log.exception("peer API: %s", handler.path)
        return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "this failed here; the log says why")
    return Response(body=body, content_type=_JSON, headers=_HARDENED)


async def _answered(answer: Answer, peer: Node, request: Request) -> Response:
    if request.method not in {"GET", "POST"}:
        return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} asks for no name")
    plain = plain_query(request.query) if request.method == "GET" else None
    if plain is not None:
        return Response(body=plain_answer(await answer(plain, peer)), headers=_HARDENED)
    kind = request.headers.get("content-type", "")
    query = read_doh(request.method, request.query, kind, request.body)
    return Response(body=await answer(query, peer), content_type=MEDIA_TYPE)


def open_sockets(addresses: Sequence[IPAddress], port: int) -> tuple[socket.socket, ...]:
    """Bind every address or none; raise `OSError`."""
    opened = list[socket.socket]()
    try:
        for address in addresses:
            is_v4 = address.version == 4  # noqa: PLR2004  # the version of IP
            made = socket.socket(socket.AF_INET if is_v4 else socket.AF_INET6, socket.SOCK_STREAM)
            opened.append(made)
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
            made.bind((str(address), port))
            made.listen(_BACKLOG)
    except OSError:
        for each in opened:
            each.close()
        raise
    return tuple(opened)


def _text(status: HTTPStatus, text: str) -> Response:
    body = text.encode() + b"\n"
    return Response(status=status.value, body=body, content_type=_TEXT, headers=_HARDENED)
