"""A listening Unix socket at a path, and who may write through it.

The socket appears by rename, so there is no moment in which the path exists
and nobody listens. A socket file that a crash left behind is replaced; one
that another process still answers on is not.
"""

from __future__ import annotations

import grp
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import DeniedError, StateError
from gatepost.localapi.router import Router
from gatepost.net.http_server import HttpServer, Limits, Peer, serve

GROUP = "gatepost"  # its members may change things
LIMITS = Limits(body=256 << 10, connections=256, idle=60.0)
_PATH_LENGTH = 107  # octets: sockaddr_un has 108 with the final zero
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A served socket; `close` removes the file if it is still ours."""

    server: HttpServer
    path: Path
    inode: int

    async def close(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()
        await self.server.close()


async def serve_local(
    router: Router, path: Path, *, mode: int = 0o666, limits: Limits = LIMITS
) -> LocalServer:
    """Answer on a Unix socket at `path`; raise StateError when somebody else does already.

    The directory is made (0755) when it is missing. `mode` 0666 lets every
    local process read, which is what `status` for everybody needs; 0660 shuts
    others than root and the group out.
    """
    listening, inode = bind(path, mode)
    return LocalServer(await serve(router, [listening], limits=limits), path, inode)


def bind(path: Path, mode: int) -> tuple[socket.socket, int]:
    """Return a listening socket that the group `gatepost` owns, and its file's inode number."""
    fresh = path.with_name(path.name + ".new")
    if len(bytes(fresh)) > _PATH_LENGTH:
        raise StateError(f"the socket path {path} is over {_PATH_LENGTH - 4} octets: shorten it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        refuse_second(path)
        fresh.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(fresh))
            _give_to_group(fresh)
            fresh.chmod(mode)
            listening.listen(_BACKLOG)
            inode = fresh.stat().st_ino
            fresh.replace(path)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise StateError(f"cannot listen on {path}: {error.strerror}") from error
    listening.setblocking(False)
    return listening, inode


def refuse_second(path: Path) -> None:
    """Raise `StateError` if another process answers on this socket; wait a second at most."""
    if _is_answered(path):
        raise StateError(f"another process answers on {path}: stop it, or give another path")


def _is_answered(path: Path) -> bool:
    if not path.exists():
        return False
    if not path.is_socket():
        raise StateError(f"{path} exists and is no socket: move it away, or give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True  # its backlog is full: somebody listens, however slowly
        return True


def _give_to_group(path: Path) -> None:
    for group in _group_ids(GROUP):
        with suppress(PermissionError):  # not root: a test, or a server with a user of its own
            os.chown(path, -1, group)


def _group_ids(name: str) -> Iterator[int]:
    with suppress(KeyError):
        yield grp.getgrnam(name).gr_gid


def only_members(owner: int, group: str = GROUP) -> Callable[[Peer], None]:
    """Return a guard that lets root, the process's own user and members of a group write.

    `owner` is the user id that the serving process runs as.
    """

    def guard(peer: Peer) -> None:
        if peer.user_id in {0, owner}:
            return
        if {peer.group_id, *peer.groups} & set(_group_ids(group)):
            return
        raise DeniedError(
            f"user {peer.user_id} may look but not change anything",
            hint=f"use sudo, or join the group and sign in again: sudo adduser USER {group}",
        )

    return guard
