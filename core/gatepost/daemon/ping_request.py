"""Answers the server's signs-of-life requests and its questions to the node itself (c2n).

Only the server that the node is connected to is answered, over that same
connection: a URL that names another host is not fetched, whatever it says.
Source: protocol document 1.13.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import h11

from gatepost.errors import GatepostError, Malformed
from gatepost.model.netmap import IPAddress
from gatepost.wire.go_json import write_json
from gatepost.wire.netmap import PingRequest, PingResponse

log = logging.getLogger(__name__)

PATIENCE = 15.0  # seconds, protocol document 1.13
PING_PATIENCE = 5.0  # seconds for a ping of a peer, after which nobody is interested any more

TsmpPing = Callable[[IPAddress, float], Awaitable[float | None]]


class Asker(Protocol):
    """The connection to the server."""

    async def request(
        self, method: str, path: str, body: bytes = b"", *, wait: float = PATIENCE
    ) -> tuple[int, bytes]: ...


async def answer_ping(server: Asker, ping: PingRequest, tsmp_ping: TsmpPing) -> None:
    """Do what the server asks, or log why not. A peer that does not answer is not told of."""
    target = urlsplit(ping.url)
    path = f"{target.path}?{target.query}" if target.query else target.path
    try:
        if not ping.types:
            await server.request("HEAD", path, wait=PATIENCE)
        elif ping.types == "c2n":
            await server.request("POST", path, answer_c2n(_payload(ping)), wait=PATIENCE)
        elif ping.types == "TSMP":
            found = await _ping_peer(ping, tsmp_ping)
            if found is not None:
                await server.request("POST", path, write_json(found), wait=PATIENCE)
        else:
            log.info("the server asks for pings of the kind %s, which are not done", ping.types)
    except GatepostError as error:
        log.warning("the server's request %s could not be answered: %s", ping.url, error)


async def _ping_peer(ping: PingRequest, tsmp_ping: TsmpPing) -> PingResponse | None:
    """Ping a peer inside the tunnel; None without an answer. Raise `Malformed`."""
    try:
        address = ip_address(ping.ip)
    except ValueError as error:
        raise Malformed(f"{ping.ip!r} is not an address to ping") from error
    latency = await tsmp_ping(address, PING_PATIENCE)
    if latency is None:
        return None
    return PingResponse(type=ping.types, ip=ping.ip, latency_seconds=latency)


def answer_c2n(raw: bytes) -> bytes:
    """Read one HTTP/1 request and return the HTTP/1 answer; raise `Malformed`."""
    request, body = _read_request(raw)
    path = urlsplit(request.target.decode("latin-1")).path
    if path == "/echo":
        return _response(HTTPStatus.OK, body)
    return _response(HTTPStatus.NOT_FOUND, b"unknown c2n path")


def _payload(ping: PingRequest) -> bytes:
    try:
        return base64.b64decode(ping.payload, validate=True)
    except binascii.Error as error:
        raise Malformed("the payload of a request to the node is not base64") from error


def _read_request(raw: bytes) -> tuple[h11.Request, bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    request: h11.Request | None = None
    body = bytearray()
    try:
        while True:
            match connection.next_event():
                case h11.Request() as event:
                    request = event
                case h11.Data() as event:
                    body += event.data
                case h11.EndOfMessage() if request is not None:
                    return request, bytes(body)
                case _:
                    raise Malformed("a request to the node ends too early")
    except h11.RemoteProtocolError as error:
        raise Malformed(f"a request to the node is not HTTP: {error}") from error


def _response(status: HTTPStatus, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body
