"""A local API served from a thread of its own, for clients that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

from gatepost.localapi.listen import LocalServer

_START = 10.0  # seconds


@contextmanager
def served(start: Callable[[], Awaitable[LocalServer]]) -> Generator[LocalServer]:
    """Serve what `start` makes until the block ends; raises what `start` raises."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local api", daemon=True)
    thread.start()

    async def begin() -> LocalServer:
        return await start()

    try:
        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(_START)
        yield server
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(_START)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START)
        loop.close()
