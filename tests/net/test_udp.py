"""UDP sockets: floods cost a bounded time, and what cannot be sent is said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator
from ipaddress import IPv4Address, ip_address

from gatepost.model.netmap import Endpoint
from gatepost.net.udp import WINDOW, UdpSocket

HERE = IPv4Address("127.0.0.1")
LIMIT = 50


@contextlib.asynccontextmanager
async def receiver(limit: int | None) -> AsyncGenerator[tuple[UdpSocket, asyncio.Queue[bytes]]]:
    """Have a socket and what it hands over."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def keep(packet: bytes, _sender: tuple[str, int], _local: bytes, _interface: int) -> None:
        heard.put_nowait(packet)

    opened = UdpSocket(
        HERE,
        0,
        mark=0,
        on_packet=keep,
        on_batch=lambda: None,
        limit=limit,
        whole=True,
    )
    try:
        yield opened, heard
    finally:
        opened.close()


def flood(port: int, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"x" * 150, (str(HERE), port))


async def test_a_flood_is_read_at_a_bounded_rate_and_all_that_was_kept_comes_in_the_end() -> None:
    async with receiver(LIMIT) as (opened, heard):
        flood(opened.port, 10 * LIMIT)
        began = time.monotonic()
        async with asyncio.timeout(30):
            for count in range(10 * LIMIT):
                await heard.get()

                assert count <= LIMIT * (2 + (time.monotonic() - began) / WINDOW)


async def test_what_comes_slowly_is_handed_over_at_once() -> None:
    async with receiver(LIMIT) as (opened, heard), asyncio.timeout(30):
        for _ in range(2 * LIMIT):
            flood(opened.port, 1)

            assert await heard.get()


async def test_a_closed_socket_that_was_resting_stays_closed() -> None:
    async with receiver(LIMIT) as (opened, heard), asyncio.timeout(30):
        flood(opened.port, 4 * LIMIT)
        for _ in range(LIMIT):
            await heard.get()
    await asyncio.sleep(2 * WINDOW)

    assert heard.qsize() <= 2 * LIMIT


async def test_what_cannot_be_sent_is_said() -> None:
    async with receiver(None) as (opened, _):
        too_long = opened.send(bytes(65000), Endpoint(HERE, opened.port))
        elsewhere = opened.send(b"x", Endpoint(ip_address("203.0.113.1"), 9))
        fine = opened.send(b"x", Endpoint(HERE, opened.port))

    assert too_long in {"", "Message too long"}  # the loopback of some kernels is that long
    assert elsewhere == "Invalid argument"  # from an address of loopback to the internet
    assert fine == ""
