"""Threads of a daemon do not each keep a heap."""

from __future__ import annotations

import subprocess
import sys

_HEAPS = """
import ctypes, threading
from gatepost.linux.memory import keep_little_free
if {called}:
    assert keep_little_free()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
found, ready = [], threading.Barrier(4)
def work():
    ready.wait(timeout=10)
    found.append(libc.malloc(1000) >> 26)  # heaps of threads are aligned to 64 MiB
    ready.wait(timeout=10)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(set(found)))
"""


def heaps(*, called: bool) -> int:
    """Return how many heaps four threads use, in an interpreter of their own."""
    command = (sys.executable, "-c", _HEAPS.format(called=called))
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return int(done.stdout)


def test_all_threads_share_one_heap() -> None:
    assert heaps(called=True) == 1
    assert heaps(called=False) > 1
