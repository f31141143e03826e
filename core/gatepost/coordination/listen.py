"""Binds the sockets of the settings, before anything else starts."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gatepost.coordination.settings import Listen
from gatepost.errors import SettingsError, StateError
from gatepost.net.stun_server import stun_socket

_BACKLOG = 2048  # after a restart all nodes come at once


def tcp_socket(name: str, listen: Listen) -> socket.socket:
    """Return a bound socket; raise `SettingsError` naming the setting and the address."""
    family = socket.AF_INET6 if ":" in str(listen.address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(listen.address), listen.port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _unavailable(name, listen, error) from error
    sock.setblocking(False)
    return sock


def udp_socket(name: str, listen: Listen) -> socket.socket:
    """Return a bound socket for STUN; raise `SettingsError`."""
    try:
        return stun_socket(listen.address, listen.port)
    except OSError as error:
        raise _unavailable(name, listen, error) from error


def _unavailable(name: str, listen: Listen, error: OSError) -> SettingsError:
    return SettingsError(
        f"{name}: cannot listen on {listen.address} port {listen.port}: {error.strerror}; "
        "stop who uses it, or give another address or port"
    )


@contextmanager
def state_directory(path: Path) -> Generator[Path]:
    """Make the directory (0700) and hold its lock; raise `StateError` if another process does."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(
                f"{path} is in use by another coordination server: stop it, or give another "
                "--state-directory"
            ) from error
        yield path
    finally:
        os.close(handle)
