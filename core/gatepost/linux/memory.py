"""How much freed memory the C library keeps for a process."""

from __future__ import annotations

import ctypes

# Source: glibc, malloc.h.
_TRIM_THRESHOLD, _ARENA_MAX = -1, -8
FREE_KEPT = 128 << 10  # bytes at the end of the heap before they are given back


def keep_little_free() -> bool:
    """Share one heap among all threads, and give back what is free at its end.

    glibc gives each thread a heap of its own and keeps what it had at most: a netmap of
    1,000 peers, read in a worker thread, leaves 5 MiB behind. To be called before threads
    are started. Return False where the C library has no such switches (musl needs none).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_ARENA_MAX, 1)) and bool(mallopt(_TRIM_THRESHOLD, FREE_KEPT))
