"""Where processor time goes: into the event loop, or into other threads. Load does not count."""

from __future__ import annotations

import time
from collections.abc import Awaitable


async def seconds(work: Awaitable[object]) -> tuple[float, float]:
    """Await `work`; return the seconds that this thread and all others spent in the meantime."""
    here, everywhere = time.thread_time(), time.process_time()
    await work
    here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    return here, everywhere - here
