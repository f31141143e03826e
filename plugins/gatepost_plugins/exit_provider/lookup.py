"""Looks up where a provider's server is, and goes on looking: they move."""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_address

from gatepost.api import IPAddress, ServiceContext, WatchHost

log = logging.getLogger(__name__)

AGAIN = 300.0  # seconds between two looks
FIRST_RETRY, LAST_RETRY = 2.0, 60.0  # seconds after a failure, doubling
PATIENCE = 20.0  # seconds for one look


async def look_up(context: ServiceContext, host: str) -> None:
    """Publish the addresses of `host` until cancelled.

    An address that was in use stays the first while it is still one of them: a name with
    many addresses would move the tunnel with every answer.
    """
    known: tuple[IPAddress, ...] = ()
    retry = FIRST_RETRY
    while True:
        try:
            found = await _addresses(host)
        except (OSError, TimeoutError) as error:
            log.warning("provider's server %s: %s", host, error)
            await asyncio.sleep(retry)
            retry = min(retry * 2, LAST_RETRY)
            continue
        retry = FIRST_RETRY
        known = tuple(sorted(found, key=lambda a: (a not in known[:1], a.version, int(a))))
        await context.answer(WatchHost(host), known)
        await asyncio.sleep(AGAIN)


async def _addresses(host: str) -> set[IPAddress]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return {ip_address(str(where[0]).partition("%")[0]) for *_, where in found}
