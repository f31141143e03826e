"""The lab's directory: sockets, state and logs of all its programs, locked while it lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

PREFIX = "gatepost-lab-"  # in the temporary directory; short, for Unix sockets' 107 octets


@contextlib.contextmanager
def lab_directory(*, keep: bool) -> Generator[Path]:
    """Have a new directory for the length of a block; `keep` leaves it there, unlocked."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(lock)
        if not keep:
            shutil.rmtree(directory)


def is_locked(directory: Path) -> bool:
    """Return whether the lab that made the directory lives."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
