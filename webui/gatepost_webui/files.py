"""Small private files: read whole, written whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gatepost.errors import StateError

_LIMIT = 64 << 10  # octets


def read_private(path: Path) -> bytes | None:
    """Return a file's octets, or None when there is none; raise StateError if unreadable."""
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _LIMIT:
        raise StateError(f"{path} is over {_LIMIT} octets; it is not ours: move it away")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Replace a file, mode 0600, so that after a power cut it is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}") from error
