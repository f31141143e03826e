"""Puts a file of ours in the place of /etc/resolv.conf, and the old one back.

The old file is kept as it is, by a second name beside it (a hard link, so owner, mode and
where it points if it is a symbolic link stay), and ours takes its place in one step; going
back is one step, too. So at no moment there is no file, and at none the old one is lost. A
file that something is mounted on (containers) cannot be replaced: it is copied to our state
directory, and its content exchanged.

Everything here blocks, for the time of a few writes to the disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from gatepost.linux.resolv_text import is_ours, without_us
from gatepost.model.netmap import IPAddress

NAME = "resolv.conf"
KEPT = "resolv.conf.before-gatepost"
_NEW = ".resolv.conf.gatepost-new"
_LARGEST = 1 << 20  # bytes of a file that is read
_MOUNTED = frozenset({errno.EBUSY, errno.EXDEV})
NONE_BEFORE = "There was no file here before."


class ResolvFile:
    """The file in `etc`; `state` is where a copy is kept if it must be one."""

    def __init__(self, etc: Path, state: Path) -> None:
        self.path = etc / NAME
        self._etc = etc
        self._beside = etc / KEPT
        self._copy = state / KEPT

    def read(self) -> str | None:
        """Return what is in the file; None if there is none."""
        return _read(self.path)

    def read_before(self) -> str | None:
        """Return what was there before us; what is there now, if that is not ours."""
        now = self.read()
        if now is None or not is_ours(now):
            return now
        before = _read(self._beside)
        return before if before is not None else _read(self._copy)

    def kept(self) -> str:
        """Say in a file of ours where the old one is."""
        if not self._exists():
            return NONE_BEFORE
        place = self._beside if not self._is_mounted() else self._copy
        return f"The file that was here is {place}."

    def take(self, text: str) -> None:
        """Put `text`, which is of ours, in the place of what is there."""
        now = self.read()
        if now is None or not is_ours(now):
            self._keep_old()
        self._replace(text)

    def _keep_old(self) -> None:
        """Keep what is there; an older one is nobody's any more, because this took its place."""
        self._beside.unlink(missing_ok=True)
        self._copy.unlink(missing_ok=True)
        if not self._exists():
            return
        if self._is_mounted():
            _write(self._copy, _read(self.path) or "")
        else:
            os.link(self.path, self._beside, follow_symlinks=False)

    def give_back(self, ours: frozenset[IPAddress]) -> bool:
        """Put the old file back; False if ours is not there, and nothing is done."""
        now = self.read()
        if now is None or not is_ours(now):
            self._forget()
            return False
        if self._beside.is_symlink() or self._beside.exists():
            self._beside.replace(self.path)
            _sync(self._etc)
        elif (before := _read(self._copy)) is not None:
            self._replace(before)
        elif NONE_BEFORE in now:
            self.path.unlink()
        else:  # somebody deleted what we kept
            self._replace(without_us(now, ours))
        self._forget()
        return True

    def _forget(self) -> None:
        self._beside.unlink(missing_ok=True)
        self._copy.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self.path.is_symlink() or self.path.exists()

    def _is_mounted(self) -> bool:
        """Say whether something is mounted on the very file: it can be linked to nowhere then."""
        probe = self._etc / _NEW
        probe.unlink(missing_ok=True)
        try:
            os.link(self.path, probe, follow_symlinks=False)
        except OSError as error:
            if error.errno in _MOUNTED:
                return True
            raise
        probe.unlink()
        return False

    def _replace(self, text: str) -> None:
        new = self._etc / _NEW
        _write(new, text)
        try:
            new.replace(self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            if error.errno not in _MOUNTED:
                raise
            _overwrite(self.path, text)
        _sync(self._etc)


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever our umask: every program reads it
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _overwrite(path: Path, text: str) -> None:
    with path.open("r+", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
