"""Ask somebody else, by HTTP, whether a node may use our relay.

    POST <url>   {"NodePublic": "nodekey:<64 hex>", "Source": "192.0.2.7"}
    200          {"Allow": true}

This is what derper's `--verify-client-url` asks, and what coordination servers
answer at /verify. Source: protocol document 3.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
import msgspec

from gatepost.errors import GatepostError, Malformed, SettingsError, UnreachableError
from gatepost.model.keys import NodePublic
from gatepost.net.dial import dial
from gatepost.wire.go_json import read_json

log = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds for one question
AT_ONCE = 32  # questions; after a restart all nodes come at once
_ANSWER_LIMIT = 4 << 10  # octets
_OK = 200
_PORTS = {"http": 80, "https": 443}


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    allow: bool = msgspec.field(default=False, name="Allow")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyUrl:
    """A checked URL."""

    host: str
    port: int
    is_tls: bool
    target: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_verify_url(text: str) -> VerifyUrl:
    """Check a URL; raise `SettingsError` naming it and the way out."""
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"verify-url {text!r} is not a URL: {error}") from error
    if parts.scheme not in _PORTS or not host or not text.isascii() or " " in text:
        raise SettingsError(f"verify-url {text!r} must look like https://mesh.example.org/verify")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return VerifyUrl(
        host=host,
        port=port or _PORTS[parts.scheme],
        is_tls=parts.scheme == "https",
        target=target,
    )


class UrlAdmission:
    """Asks one URL. `is_open` says whether nodes come in while nobody answers there.

    `context` is for tests and private authorities; usually the system's roots count.
    """

    def __init__(
        self, url: VerifyUrl, *, is_open: bool, context: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._is_open = is_open
        self._context = (context or ssl.create_default_context()) if url.is_tls else None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.unanswered = 0  # questions

    async def admit(self, key: NodePublic, address: str) -> bool:
        """Return the answer; without one, what the operator chose."""
        answer = await self.ask(key, address)
        return self._is_open if answer is None else answer

    async def ask(self, key: NodePublic, address: str) -> bool | None:
        """Return the answer, None when there is none."""
        try:
            async with self._turns, asyncio.timeout(TIMEOUT):
                return await self._ask(key, address)
        except TimeoutError:
            problem = f"no answer within {TIMEOUT:.0f} s"
        except GatepostError as error:
            problem = str(error)
        self.unanswered += 1
        log.warning("derp: cannot ask %s about %s: %s", self._url.host, key.short, problem)
        return None

    async def _ask(self, key: NodePublic, address: str) -> bool:
        body = msgspec.json.encode({"NodePublic": str(key), "Source": address})
        url = self._url
        sock = await dial(url.host, url.port, seconds=TIMEOUT)
        try:
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=self._context, server_hostname=url.host if url.is_tls else None
            )
        except OSError as error:  # also ssl.SSLError
            sock.close()
            raise UnreachableError(f"{url.authority}: {error}") from error
        try:
            return await self._converse(reader, writer, body)
        except (OSError, h11.RemoteProtocolError) as error:
            raise UnreachableError(f"{url.authority}: {error}") from error
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> bool:
        http = h11.Connection(h11.CLIENT)
        headers = [
            ("Host", self._url.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        request = h11.Request(method="POST", target=self._url.target, headers=headers)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(http.send(event) or b"")
        status, answer = 0, bytearray()
        while True:
            match http.next_event():
                case h11.NEED_DATA:
                    http.receive_data(await reader.read(_ANSWER_LIMIT))
                case h11.Response(status_code=status):
                    pass
                case h11.Data() as piece:
                    answer += piece.data
                    if len(answer) > _ANSWER_LIMIT:
                        raise Malformed(f"an answer of over {_ANSWER_LIMIT} bytes")
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    break
                case _:
                    pass  # informational answers
        if status != _OK:  # as derper: whoever answers, but not so, has not let the node in
            log.warning("derp: %s answers %d", self._url.authority, status)
            return False
        return read_json(bytes(answer), _Answer).allow
