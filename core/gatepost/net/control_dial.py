"""Reaching a coordination server: its key, the way to it, the upgrade, the handshake.

Several ways are tried, as the official client does: plain HTTP first (Noise
needs no TLS around it), HTTPS half a second later or as soon as HTTP fails.
Only the fetch of the key trusts a certificate. Source: protocol document 1.1, 1.2.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass

import h11

from gatepost.errors import GatepostError, Malformed, RefusedError, UnreachableError
from gatepost.model.keys import MachinePrivate, MachinePublic
from gatepost.net.control_address import Server, Way
from gatepost.net.dial import dial
from gatepost.net.tls import utc_now
from gatepost.wire import noise
from gatepost.wire.go_json import read_json
from gatepost.wire.register import ServerKeys

log = logging.getLogger(__name__)

DIAL_TIMEOUT = 10.0  # seconds for one way: name, TCP, TLS, upgrade and handshake
HEAD_START = 0.5  # seconds that each way has before the next is tried too
_BODY_LIMIT = 64 << 10  # octets of the answer to /key, and of a refusal
_REASON_LIMIT = 300  # characters of a refusal that are shown
_READ_SIZE = 64 << 10  # octets
_SELF_SIGNED = {18, 19}  # X509_V_ERR_: the certificate itself, or the last of its chain
_UNACKNOWLEDGED = 90_000  # milliseconds that written bytes may stay without an answer by TCP


@dataclass(slots=True)
class Line:
    """A connection after the handshake. `rest` came behind it and is still encrypted."""

    way: Way
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    transport: noise.Transport
    rest: bytes


async def fetch_key(
    server: Server, version: int, tls: ssl.SSLContext | None, mark: int | None = None
) -> MachinePublic:
    """Ask for the server's Noise key; with https `tls` (or the system's roots) verifies it.

    Raise `UnreachableError`, `RefusedError` (a status that is not 200) or `Malformed`.
    """
    way = server.way
    context = (tls or ssl.create_default_context()) if way.is_tls else None
    request = h11.Request(
        method="GET",
        target=f"/key?v={version}",
        headers=[("Host", server.authority), ("Connection", "close")],
    )
    with _reaching(way):
        async with asyncio.timeout(DIAL_TIMEOUT):
            reader, writer = await _connect(way, context, mark)
            try:
                status, body, _ = await _ask(reader, writer, request)
            finally:
                writer.close()
    if status != 200:  # noqa: PLR2004  # HTTP
        raise RefusedError(f"{way}/key answers {status}: {_shown(body)}")
    return read_json(body, ServerKeys).public_key


class Dialler:
    """Opens lines to one server and remembers which way worked."""

    def __init__(
        self, server: Server, machine: MachinePrivate, version: int, mark: int | None = None
    ) -> None:
        """Take the parts; `mark` is the SO_MARK of this program's own traffic."""
        self._server = server
        self._machine = machine
        self._version = version
        self._mark = mark
        self._ways = server.ways

    async def dial(self, key: MachinePublic) -> Line:
        """Return the first line that stands.

        Otherwise raise what the most telling way died of: `RefusedError` and
        `WireError` (as `Unauthentic`, for another key) before `UnreachableError`.
        """
        line = await _Race(lambda way: self._open(way, key)).run(self._ways)
        others = tuple(way for way in self._server.ways if way != line.way)
        self._ways = (line.way, *others)
        return line

    async def _open(self, way: Way, key: MachinePublic) -> Line:
        initiation = noise.Initiation(self._machine, key, self._version, secrets.token_bytes(32))
        with _reaching(way):
            async with asyncio.timeout(DIAL_TIMEOUT):
                # Noise proves who the server is, so any certificate will do.
                context = _unverified() if way.is_tls else None
                reader, writer = await _connect(way, context, self._mark)
                try:
                    rest = await self._upgrade(way, reader, writer, initiation.message)
                    response, rest = await _read_response(reader, rest)
                    return Line(way, reader, writer, initiation.finish(response), rest)
                except BaseException:
                    writer.close()
                    raise

    async def _upgrade(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes
    ) -> bytes:
        """Ask to leave HTTP; return the bytes that came behind the answer."""
        request = h11.Request(
            method="POST",
            target="/ts2021",
            headers=[
                ("Host", self._server.authority),
                ("Upgrade", "tailscale-control-protocol"),
                ("Connection", "upgrade"),
                ("X-Tailscale-Handshake", base64.b64encode(first).decode("ascii")),
                ("Content-Length", "0"),
            ],
        )
        status, body, rest = await _ask(reader, writer, request)
        if status != 101:  # noqa: PLR2004  # HTTP
            raise RefusedError(f"{way}/ts2021 answers {status}: {_shown(body)}")
        return rest


class _Race:
    """One attempt per way, each with a head start over the next; the first success wins."""

    def __init__(self, attempt: Callable[[Way], Awaitable[Line]]) -> None:
        self._attempt = attempt
        self._line: Line | None = None
        self._errors: list[GatepostError] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, ways: Sequence[Way]) -> Line:
        turn = asyncio.Event()
        turn.set()
        async with asyncio.TaskGroup() as group:
            for way in ways:
                failed = asyncio.Event()
                self._tasks.append(group.create_task(self._try(way, turn, failed)))
                turn = failed
        if self._line is not None:
            return self._line
        for error in self._errors:
            if not isinstance(error, UnreachableError):
                raise error
        raise UnreachableError("; ".join(str(error) for error in self._errors))

    async def _try(self, way: Way, turn: asyncio.Event, failed: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAD_START):
                await turn.wait()
        try:
            line = await self._attempt(way)
        except GatepostError as error:
            log.debug("%s: %s", way, error)
            self._errors.append(error)
            failed.set()
            return
        if self._line is not None:
            line.writer.close()
            return
        self._line = line
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


async def _connect(
    way: Way, context: ssl.SSLContext | None, mark: int | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = await dial(way.host, way.port, mark=mark, seconds=DIAL_TIMEOUT)
    name = way.host if context is not None else None
    reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
    return reader, writer


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: h11.Request
) -> tuple[int, bytes, bytes]:
    """Return the status, the body, and what came behind the answer."""
    http = h11.Connection(h11.CLIENT)
    writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    status = 0
    body = bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_SIZE))
            case h11.InformationalResponse(status_code=101):
                return 101, b"", http.trailing_data[0]
            case h11.Response() as head:
                status = head.status_code
            case h11.Data() as piece:
                body += piece.data
                if len(body) > _BODY_LIMIT:
                    raise Malformed(f"an answer of more than {_BODY_LIMIT} bytes")
            case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                return status, bytes(body), http.trailing_data[0]
            case _:
                pass  # other informational answers


async def _read_response(reader: asyncio.StreamReader, rest: bytes) -> tuple[bytes, bytes]:
    """Return the handshake's response, and what came behind it."""
    head = rest[:3]
    head += await reader.readexactly(3 - len(head))
    length = noise.response_length(head)
    rest = rest[3:]
    body = rest[: length - 3]
    rest = rest[length - 3 :]
    body += await reader.readexactly(length - 3 - len(body))
    return head + body, rest


@contextlib.contextmanager
def _reaching(way: Way) -> Generator[None]:
    """Turn the ways in which a network fails into ours."""
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(f"{way} does not answer within {DIAL_TIMEOUT:g} s") from error
    except asyncio.IncompleteReadError as error:
        raise UnreachableError(f"{way} closed the connection during the handshake") from error
    except ssl.SSLCertVerificationError as error:
        hint = f"this machine's clock says {utc_now():%Y-%m-%d}, is that right?"
        if error.verify_code in _SELF_SIGNED:
            hint = "the server needs one from an authority that this machine trusts"
        raise RefusedError(
            f"{way}: {error.verify_message}: the certificate is not trusted; {hint}"
        ) from error
    except OSError as error:
        raise UnreachableError(f"{way}: {error.strerror or error}") from error
    except h11.RemoteProtocolError as error:
        raise Malformed(f"{way} does not speak HTTP: {error}") from error


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shown(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return (text or "no reason given")[:_REASON_LIMIT]
