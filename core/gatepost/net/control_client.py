"""The node's conversation with its coordination server.

One connection carries everything; it is made when first needed and made again
when it has broken. Nothing is repeated by itself: what fails raises, and the
caller decides when to try again. Source: protocol document 1.1 to 1.9, 1.13, 8.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator

import msgspec

from gatepost.errors import RefusedError, Truncated, UnreachableError, WireError
from gatepost.model.keys import MachinePrivate, MachinePublic
from gatepost.net.control_address import parse_server
from gatepost.net.control_dial import Dialler, fetch_key
from gatepost.net.control_link import ControlLink, Exchange
from gatepost.net.tasks import Tasks
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.map_frames import FrameReader
from gatepost.wire.map_reader import read_map
from gatepost.wire.netmap import MapRequest, MapResponse
from gatepost.wire.register import RegisterRequest, RegisterResponse

CAPABILITY_VERSION = 131  # what this node implements; tells the server which fields to send
WATCHDOG = 120.0  # seconds without a map message, keep-alives included
SIGN_OF_LIFE = 10.0  # seconds for the answer to a PING, after a request had none
REQUEST_TIMEOUT = 30.0  # seconds for an ordinary request
LOGIN_TIMEOUT = 960.0  # seconds for one that waits for somebody to log in
_BODY_LIMIT = 1 << 20  # octets of an ordinary answer
_OK = 200
_LATER = {429, 500, 502, 503, 504}  # statuses after which to try again


class ControlClient:
    """Asks one server as one machine. `close` it."""

    def __init__(
        self,
        server_url: str,
        machine: MachinePrivate,
        *,
        version: int = CAPABILITY_VERSION,
        tls: ssl.SSLContext | None = None,
        mark: int | None = None,
        watchdog: float = WATCHDOG,
        sign_of_life: float = SIGN_OF_LIFE,
    ) -> None:
        """Raise `SettingsError` for a URL that names no server. Nothing is dialled yet.

        `tls` verifies the certificate when the server's key is fetched over
        https; None trusts the system's roots. `mark` is the SO_MARK of this
        program's own traffic. `watchdog` is how many seconds the map poll may
        be silent, `sign_of_life` how many the connection when it is asked.
        """
        self._server = parse_server(server_url)
        self._version = version
        self._tls = tls
        self._watchdog = watchdog
        self._sign_of_life = sign_of_life
        self._mark = mark
        self._dialler = Dialler(self._server, machine, version, mark)
        self._key: MachinePublic | None = None
        self._link: ControlLink | None = None
        self._dialling = asyncio.Lock()
        self._tasks = Tasks()

    async def register(
        self, request: RegisterRequest, *, wait: float | None = None
    ) -> RegisterResponse:
        """Join, stay or leave. `wait` bounds the wait in seconds; a follow-up waits 16 minutes.

        Raise `RefusedError` with the server's own words when it says no, be it
        by status or in the answer.
        """
        limit = wait or (LOGIN_TIMEOUT if request.followup else REQUEST_TIMEOUT)
        status, body = await self.request(
            "POST", "/machine/register", write_json(request), wait=limit
        )
        _expect_ok("/machine/register", status, body)
        answer = read_json(body, RegisterResponse)
        if answer.error:
            raise RefusedError(answer.error)
        return answer

    async def map(self, request: MapRequest) -> AsyncGenerator[MapResponse]:
        """Poll the map: yield each message, until the server ends the stream.

        Close the generator (`contextlib.aclosing`) to give the poll up. Raise
        `UnreachableError` when no message came in time or the connection broke,
        `RefusedError` for a status that is not 200,
        `WireError` for a message that cannot be read.
        """
        exchange = await self._open("POST", "/machine/map", write_json(request))
        try:
            async with _patience(self._watchdog, "the map poll"):
                head = await exchange.head()
                if head.status != _OK:
                    _expect_ok("/machine/map", head.status, await exchange.body(_BODY_LIMIT))
            reader = FrameReader(request.compress)
            while (messages := await self._messages(exchange, reader)) is not None:
                for message in messages:
                    yield read_map(message)
        finally:
            exchange.close()

    async def _messages(self, exchange: Exchange, reader: FrameReader) -> list[bytes] | None:
        """Wait for the next messages; None is the end of the stream."""
        async with _patience(self._watchdog, "the map poll"):
            while (piece := await exchange.piece()) is not None:
                if messages := reader.feed(piece):
                    return messages
        if not reader.is_between_frames:
            raise Truncated("the map stream ends within a message")
        return None

    async def update(self, request: MapRequest) -> None:
        """Tell the server what changed on this node (the lite update); nothing comes back."""
        lite = msgspec.structs.replace(request, stream=False, omit_peers=True)
        status, body = await self.request("POST", "/machine/map", write_json(lite))
        _expect_ok("/machine/map", status, body)

    async def request(
        self, method: str, path: str, body: bytes = b"", *, wait: float = REQUEST_TIMEOUT
    ) -> tuple[int, bytes]:
        """Ask anything; return the status and the body (at most 1 MiB). `wait` is in seconds.

        Raise `UnreachableError` when no answer comes, `WireError` when it is
        garbled. Whether the server has acted is then unknown.
        """
        exchange = await self._open(method, path, body)
        try:
            async with _patience(wait, path):
                head = await exchange.head()
                return head.status, await exchange.body(_BODY_LIMIT)
        except UnreachableError:
            if self._link is not None and not self._link.is_over:
                self._tasks.spawn(self._link.prove(self._sign_of_life), "sign of life")
            raise
        finally:
            exchange.close()

    async def close(self) -> None:
        """End the connection; whoever still waits gets `UnreachableError`."""
        if self._link is not None:
            self._link.end(UnreachableError("this node closed the connection"))
        await self._tasks.close()

    # --- the connection ---------------------------------------------------------
    async def _open(self, method: str, path: str, body: bytes) -> Exchange:
        async with self._dialling:
            if self._link is None or self._link.is_over:
                self._link = await self._dial()
            return self._link.open(method, path, body)

    async def _dial(self) -> ControlLink:
        if self._key is None:
            self._key = await fetch_key(self._server, self._version, self._tls, self._mark)
        try:
            line = await self._dialler.dial(self._key)
        except (RefusedError, WireError):
            self._key = None  # perhaps the server has a new one: ask again next time
            raise
        link = ControlLink(line, self._server.authority)
        self._tasks.spawn(link.run(), "control connection")
        return link


@contextlib.asynccontextmanager
async def _patience(seconds: float, what: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UnreachableError(f"{what}: no answer within {seconds:g} s") from error


def _expect_ok(path: str, status: int, body: bytes) -> None:
    if status != _OK:
        reason = " ".join(body.decode("utf-8", "replace").split())[:300]
        if status in _LATER:  # not about us: the server, or what stands before it, is in trouble
            raise UnreachableError(f"{path} answers {status}: {reason or 'no reason given'}")
        raise RefusedError(f"{path} answers {status}: {reason or 'no reason given'}")
