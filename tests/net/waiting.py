"""Wait for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, within: float = 10.0) -> None:
    """Return as soon as `condition()` is true; raise `TimeoutError` after `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # another task makes it true
            await asyncio.sleep(0.002)
