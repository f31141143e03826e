"""Reads block lists: files of this box, and https:// addresses.

Whoever keeps a list elsewhere may be slow, drip, or send us on to odd places: each list has a
time and a size of its own, and where it leads must be https:// too, with a certificate that
is good there. Nothing of this holds a thread while it waits.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from string import punctuation
from urllib.parse import quote, urljoin, urlsplit

import h11

from gatepost.errors import Malformed, UnreachableError
from gatepost.sessions.dns_block import read_block_list

PATIENCE = 60.0  # seconds for a list, from its name to its last byte
LARGEST = 16 << 20  # bytes of a list
MOST_MOVES = 5  # from one address to the next
_READ_SIZE = 64 << 10  # bytes
_HTTPS = 443
_MOVED = frozenset({301, 302, 303, 307, 308})


def check_list(text: str) -> None:
    """Raise `ValueError` for what is neither a path nor an address of a list."""
    if "://" in text:
        parts = urlsplit(text)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise ValueError(f"{text!r} is not the address of a list: write https://…")
        _ = parts.port  # raises ValueError for what is none
    elif not text.startswith("/"):
        raise ValueError(f"{text!r} is not a list: write the whole path of a file, or https://…")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """How lists are read. `trust` None: the operating system's."""

    trust: ssl.SSLContext | None = None
    patience: float = PATIENCE
    largest: int = LARGEST

    async def read(self, name: str) -> frozenset[str]:
        """Return the names in a list; raise `OSError`, `ValueError` or a `GatepostError`."""
        if "://" in name:
            raw = await self._download(name)
        else:
            raw = await asyncio.to_thread(self._read_file, Path(name))
        return await asyncio.to_thread(_names, raw)

    def _read_file(self, path: Path) -> bytes:
        if not path.is_file() and path.exists():
            raise Malformed("it is no file")  # a pipe would hold this thread for ever
        with path.open("rb") as file:
            raw = file.read(self.largest + 1)
        self._check(len(raw))
        return raw

    def _check(self, size: int) -> None:
        if size > self.largest:
            raise Malformed(f"it has over {self.largest:,} bytes")

    async def _download(self, address: str) -> bytes:
        trust = self.trust
        if trust is None:
            trust = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(self.patience):
                for _ in range(MOST_MOVES + 1):
                    found = await self._get(address, trust)
                    if isinstance(found, bytes):
                        return found
                    address = _next(address, found)
        except TimeoutError as error:
            raise UnreachableError(f"it was not there whole after {self.patience:g} s") from error
        except h11.RemoteProtocolError as error:
            raise Malformed(f"the server does not speak HTTP: {error}") from error
        raise Malformed(f"it has moved more than {MOST_MOVES} times")

    async def _get(self, address: str, trust: ssl.SSLContext) -> bytes | str:
        """Ask once; return the list, or where it has moved to."""
        parts = urlsplit(address)
        host = parts.hostname or ""
        reader, writer = await asyncio.open_connection(host, parts.port or _HTTPS, ssl=trust)
        try:
            connection = h11.Connection(h11.CLIENT)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            target = quote(target, safe=punctuation)  # blanks and the like may not be sent
            headers = [("Host", parts.netloc), ("Connection", "close"), ("Accept", "text/plain")]
            asked = h11.Request(method="GET", target=target, headers=headers)
            writer.write(connection.send(asked) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            head = await _next_event(connection, reader)
            while isinstance(head, h11.InformationalResponse):
                head = await _next_event(connection, reader)
            if not isinstance(head, h11.Response):
                raise UnreachableError("the server hung up")
            if head.status_code in _MOVED:
                return dict(head.headers).get(b"location", b"").decode("utf-8", "replace")
            if head.status_code != HTTPStatus.OK:
                raise UnreachableError(f"the server answers with status {head.status_code}")
            return await self._body(connection, reader)
        finally:
            writer.transport.abort()

    async def _body(self, connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while isinstance(event := await _next_event(connection, reader), h11.Data):
            body += event.data
            self._check(len(body))
        if not isinstance(event, h11.EndOfMessage):
            raise UnreachableError("the server hung up in the middle")
        return bytes(body)


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_READ_SIZE))
    return event


def _next(address: str, location: str) -> str:
    """Return where a list has moved to; raise `Malformed` if nothing is to be had there."""
    moved = urljoin(address, location)
    try:
        check_list(moved)
    except ValueError as error:
        raise Malformed(f"it has moved to {location[:200]!r}: not followed") from error
    return moved


def _names(raw: bytes) -> frozenset[str]:
    return read_block_list(raw.decode("utf-8", "replace")).names
