"""The server's two private keys, each in a file of its own (0600) in the state directory.

They are as good as permanent: clients keep the Noise key while they run, and
nodes know the relay by its key. Back them up with the database.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TypeVar

from gatepost.errors import Malformed, StateError
from gatepost.model.keys import MachinePrivate, NodePrivate

NOISE_FILE = "noise.key"
DERP_FILE = "derp.key"

K = TypeVar("K", MachinePrivate, NodePrivate)


def noise_key(directory: Path) -> MachinePrivate:
    return _key(directory / NOISE_FILE, MachinePrivate)


def derp_key(directory: Path) -> NodePrivate:
    return _key(directory / DERP_FILE, NodePrivate)


def _key(path: Path, kind: type[K]) -> K:
    """Return the key in a file, made if there is none; raise `StateError` for one unusable."""
    try:
        return kind.parse(path.read_text("ascii").strip())
    except FileNotFoundError:
        made = kind(secrets.token_bytes(32))
        _write(path, made.reveal() + "\n")
        return made
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise StateError(f"{path} cannot be used: {error}. Restore it from a backup.") from error


def _write(path: Path, text: str) -> None:
    """Write a file that is whole or not there, even after a power cut."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error}") from error
