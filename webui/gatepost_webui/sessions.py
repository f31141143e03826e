"""Who is signed in: kept on this side, so that signing out ends it for whoever has the cookie."""

from __future__ import annotations

import hashlib
import secrets
import threading
from pathlib import Path

import msgspec

from gatepost_webui.files import read_private, write_private

LIFETIME = 12 * 3600.0  # seconds
MOST = 32  # browsers; the oldest is signed out


class Sessions:
    """Tokens by their SHA-256 with the moment of sign-in, stored in one file.

    Moments are seconds since 1970. A damaged file signs everybody out.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "sessions"
        self._lock = threading.Lock()
        self._since = _load(self._path)

    def open(self, now: float) -> str:
        """Return the token of a new session."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            alive = {k: at for k, at in self._since.items() if 0 <= now - at < LIFETIME}
            alive[_key(token)] = now
            self._since = dict(sorted(alive.items(), key=lambda item: item[1])[-MOST:])
            self._store()
        return token

    def is_open(self, token: str, now: float) -> bool:
        since = self._since.get(_key(token))
        return since is not None and 0 <= now - since < LIFETIME

    def close(self, token: str) -> None:
        with self._lock:
            if self._since.pop(_key(token), None) is not None:
                self._store()

    def close_all(self) -> None:
        with self._lock:
            self._since = {}
            self._store()

    def _store(self) -> None:
        write_private(self._path, msgspec.json.encode(self._since))


def read_secret(directory: Path) -> bytes:
    """Return the 32 octets that sign cookies, made on first use."""
    path = directory / "cookie-key"
    stored = read_private(path)
    if stored is None or len(stored) != 32:  # noqa: PLR2004  # octets, as made below
        stored = secrets.token_bytes(32)
        write_private(path, stored)
    return stored


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _load(path: Path) -> dict[str, float]:
    content = read_private(path)
    if content is None:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, float])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
