"""Servers on free loopback ports, for the tests of this room."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from gatepost.net.http_server import Handler, HttpServer, Limits, serve


@dataclass(frozen=True, slots=True)
class Address:
    """Where a test's server listens; raw connections to it."""

    port: int
    server: HttpServer

    @contextlib.asynccontextmanager
    async def connect(
        self, tls: ssl.SSLContext | None = None
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, text: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        async with self.connect() as (reader, writer):
            writer.write(text)
            async with asyncio.timeout(10):
                return await reader.read()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Address]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)  # slow readers show soon
    listening.bind(("127.0.0.1", 0))
    server = await serve(handler, [listening], limits=limits, tls=tls)
    try:
        yield Address(listening.getsockname()[1], server)
    finally:
        await server.close()


async def read_exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(count)


async def read_until(reader: asyncio.StreamReader, mark: bytes) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readuntil(mark)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes, however it does that."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            return await reader.read()
    return b""
