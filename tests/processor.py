"""Where processor time goes: into the event loop, or into other threads. Load does not count."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable


async def seconds(work: Awaitable[object]) -> tuple[float, float]:
    """Await `work`; return the seconds that this thread and all others spent in the meantime.

    No garbage is collected meanwhile: that looks through what all tests before have left.
    """
    gc.disable()
    try:
        here, everywhere = time.thread_time(), time.process_time()
        await work
        here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    finally:
        gc.enable()
    return here, everywhere - here
