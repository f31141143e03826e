"""Waiting for whichever comes first."""

from __future__ import annotations

import asyncio


async def first_of(one: asyncio.Event, other: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109  # a limit of the protocol, not of the caller
    """Return when either is set, or after `timeout` seconds."""
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(e.wait()) for e in (one, other)]
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
