"""Replaces a small file, so that whoever reads it finds the old content or the new."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_file(path: Path, content: bytes, *, owner: str = "") -> None:
    """Write beside it, flush, rename; only `owner` (or this process's user) may read it.

    Raise `OSError`, also when there is no such user, and leave the old file then.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # of a descriptor, for its mode
            if owner:
                _give(descriptor, owner)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def change_owner(path: Path, owner: str) -> None:
    """Give a file or folder to a user and the group of that name.

    Raise `OSError` if there is none, or if the path is a link: in a folder of that user's one
    might lead to what is root's.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(descriptor, owner)
    finally:
        os.close(descriptor)


def _give(descriptor: int, owner: str) -> None:
    try:
        shutil.chown(descriptor, owner, owner)
    except LookupError as error:
        raise FileNotFoundError(f"there is no user or group {owner}") from error
