"""Connections of this program's own."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from gatepost.errors import UnreachableError
from gatepost.net.dial import dial


async def listening() -> tuple[asyncio.Server, int]:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_an_address_that_refuses_is_passed_over() -> None:
    server, port = await listening()
    async with server:
        sock = await dial("localhost", port, addresses=("::1", "127.0.0.1"))
        with sock:
            assert sock.getpeername() == ("127.0.0.1", port)


async def test_nobody_there_is_unreachable_with_name_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(UnreachableError, match=f"127.0.0.1 port {port}: "):
        await dial("127.0.0.1", port)


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"no-such\.invalid port 443"):
        await dial("no-such.invalid", 443)


@pytest.mark.skipif(os.geteuid() != 0, reason="setting a mark needs CAP_NET_ADMIN")
async def test_the_mark_is_on_the_socket() -> None:
    server, port = await listening()
    async with server:
        with await dial("127.0.0.1", port, mark=0x80000) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, 36) == 0x80000
