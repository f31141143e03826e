"""Who is at the other end of a connection: an address, or a process on this machine."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass

log = logging.getLogger(__name__)

_SO_PEERGROUPS = 59  # asm-generic/socket.h; absent from the socket module
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: an IP address, or a process on this machine."""

    address: str = ""
    user_id: int | None = None
    group_id: int | None = None
    process_id: int | None = None
    groups: tuple[int, ...] = ()  # supplementary groups of that process


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Say who is at the other end of a connection."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        process, user, group = _CREDENTIALS.unpack(raw)
        return Peer(user_id=user, group_id=group, process_id=process, groups=_groups_of(sock))
    name = transport.get_extra_info("peername")
    return Peer(address=name[0] if name else "")


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    """Return the peer's supplementary groups, as they were when it connected (at most 256)."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError as error:
        log.warning("a peer's groups cannot be read, it counts as in none: %s", error)
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
