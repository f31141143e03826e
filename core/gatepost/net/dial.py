"""Opens TCP connections for this program's own traffic, with its mark on them.

The mark (SO_MARK) keeps a connection out of the tunnel: without it, a remote
network that holds the coordination server's address would carry the connection
that brings the netmap, and the two would wait for each other. Setting it needs
CAP_NET_ADMIN; a program without that passes no mark.

Segments are kept small in both directions: where a link carries 1,280 octets and ICMP is blocked,
nobody would say so, and the connection would stand still with the first long message.

Several addresses are tried as in RFC 8305: the next one starts when the one
before failed or has not answered for 250 ms; the first that connects stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from gatepost.errors import UnreachableError

HEAD_START = 0.25  # seconds, RFC 8305 section 5
SEGMENT = 1220  # octets of TCP: IPv6's smallest MTU (RFC 8200, 5) less the headers of IPv6 and TCP
_SO_MARK = 36  # Linux: asm-generic/socket.h

AddressInfo = tuple[Any, ...]  # family, type, protocol, name, address: the shape of getaddrinfo


async def dial(
    host: str,
    port: int,
    *,
    mark: int | None = None,
    seconds: float = 10.0,
    addresses: Sequence[str] = (),
    source: str = "",
) -> socket.socket:
    """Connect to a TCP port and return the non-blocking socket.

    `addresses`, if any, are tried in place of what the name resolves to;
    `source`, if given, is our own address on the connection.
    Raises UnreachableError with the reason of the last try.
    """
    try:
        async with asyncio.timeout(seconds):
            found = await _resolve(addresses or (host,), port)
            return await _race(found, mark, source)
    except TimeoutError as error:
        raise UnreachableError(f"{host} port {port} did not answer in {seconds:g} s") from error
    except OSError as error:
        raise UnreachableError(f"{host} port {port}: {error.strerror or error}") from error


async def _resolve(hosts: Sequence[str], port: int) -> list[AddressInfo]:
    """Return addresses with the two versions of IP taking turns."""
    loop = asyncio.get_running_loop()
    found: list[AddressInfo] = []
    for host in hosts:
        found += await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    same, other = [a for a in found if a[0] == first], [a for a in found if a[0] != first]
    turns = chain.from_iterable(zip_longest(same, other))
    return [address for address in turns if address is not None]


async def _race(found: list[AddressInfo], mark: int | None, source: str) -> socket.socket:
    """Start the tries one after the other and return the first socket that connects."""
    waiting = list(found)
    running: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("the name has no address")
    loop = asyncio.get_running_loop()
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_connect(waiting.pop(0), mark, source), name="dial"))
            done, running = await asyncio.wait(
                running,
                timeout=HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if (error := task.exception()) is None:
                    running |= done - {task}  # two may connect at once; the rest are given up
                    return task.result()
                failure = error
    finally:
        await _give_up(running)
    raise failure


async def _give_up(running: set[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError, OSError):
            (await task).close()


async def _connect(info: AddressInfo, mark: int | None, source: str) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        if source:
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
