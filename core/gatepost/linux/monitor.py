"""Hears from the kernel that links, addresses, routes, rules or nftables have changed.

What exactly changed is not told: whoever cares reads again. So nothing is lost
when messages are (`ENOBUFS` after a storm is just another "everything changed"),
and a storm costs one reading per `GATHER`: after the first message nobody listens
until that time is over, then all that has piled up is thrown away at once.

The kernel itself leaves out what nobody here cares about: a program in its own
instructions lets through only route messages about our routes, our table or a
default route (a router with a full BGP table has hundreds of others a second), which
somebody else changed than the socket `own`, and of
nftables only the message that ends a transaction. As nothing is read here, only the
numbers come from pyroute2; its sockets would read every message of a storm in the loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import socket
import struct
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from gatepost.linux.netlink import NETFILTER, ROUTE, ROUTING_GROUPS, RoutingType
from gatepost.model.owned import ROUTE_PROTOCOL, ROUTE_TABLE

Topic = Literal["network", "filter"]
OnChange = Callable[[frozenset[Topic]], None]

GATHER = 0.05  # seconds from the first message to the call
LONGEST_MESSAGE = 1 << 16  # bytes; what is longer is cut, nobody reads it anyway
MOST_MESSAGES = 4096  # taken at once; the rest of a storm waits for the next turn

NOBODY = 0xFFFFFFFF  # no netlink socket has this port
_NFTABLES_GROUP = 7  # NFNLGRP_NFTABLES
_NEW_GENERATION = (10 << 8) | 15  # subsystem nftables, NFT_MSG_NEWGEN
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_ATTACH_FILTER = 26

log = logging.getLogger(__name__)


class Monitor:
    """Calls `on_change` in the event loop, at most once per `GATHER` and topic.

    Use it as a context manager, inside the network namespace that it shall hear from.
    """

    def __init__(self, on_change: OnChange, own: int = NOBODY) -> None:
        """Take whom to tell, and the port of the netlink socket that writes our routes."""
        self._on_change = on_change
        self._own = own
        self._ears: list[_Ear] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._ears = [
            _Ear(
                loop, "network", ROUTE, ROUTING_GROUPS, _route_program(self._own), self._on_change
            ),
            _Ear(loop, "filter", NETFILTER, (_NFTABLES_GROUP,), _nft_program(), self._on_change),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for ear in self._ears:
            ear.close()
        self._ears = []


class _Ear:
    """One socket and its topic."""

    def __init__(  # made in one place, above
        self,
        loop: asyncio.AbstractEventLoop,
        topic: Topic,
        protocol: int,
        groups: tuple[int, ...],
        program: bytes,
        on_change: OnChange,
    ) -> None:
        self._loop = loop
        self._topic: Topic = topic
        self._on_change = on_change
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setblocking(False)  # the socket's own signature
        _attach(self._socket, program)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        loop.add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _on_readable(self) -> None:
        self._loop.remove_reader(self._socket)
        self._timer = self._loop.call_later(GATHER, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._empty()
        self._loop.add_reader(self._socket, self._on_readable)
        self._on_change(frozenset((self._topic,)))

    def _empty(self) -> None:
        """Throw away what has come; the reader of the kernel's state is what counts."""
        for _ in range(MOST_MESSAGES):
            try:
                self._socket.recv(LONGEST_MESSAGE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                log.info("more kernel events than fit: reading everything again")


# --- programs for the kernel (classic BPF: code u16 | jump true u8 | jump false u8 | k u32) ---

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
_TYPE, _SENDER = 4, 12  # offsets
_LENGTH, _TABLE, _PROTOCOL = 17, 20, 21  # the rtmsg begins at 16
_KEEP, _DROP = 0xFFFFFFFF, 0


def _route_program(own: int) -> bytes:
    return _assemble(
        (_LOAD_HALF, 0, 0, _TYPE),
        (_JUMP_EQUAL, 1, 0, _as_loaded(RoutingType.NEW_ROUTE)),
        (_JUMP_EQUAL, 0, 8, _as_loaded(RoutingType.DELETE_ROUTE)),  # not a route: keep
        (_LOAD_WORD, 0, 0, _SENDER),
        (_JUMP_EQUAL, 7, 0, _as_loaded(own, 4)),
        (_LOAD_BYTE, 0, 0, _PROTOCOL),
        (_JUMP_EQUAL, 4, 0, ROUTE_PROTOCOL),
        (_LOAD_BYTE, 0, 0, _TABLE),
        (_JUMP_EQUAL, 2, 0, ROUTE_TABLE),
        (_LOAD_BYTE, 0, 0, _LENGTH),
        (_JUMP_EQUAL, 0, 1, 0),  # a default route
        (_RETURN, 0, 0, _KEEP),
        (_RETURN, 0, 0, _DROP),
    )


def _nft_program() -> bytes:
    return _assemble(
        (_LOAD_HALF, 0, 0, _TYPE),
        (_JUMP_EQUAL, 0, 1, _as_loaded(_NEW_GENERATION)),
        (_RETURN, 0, 0, _KEEP),
        (_RETURN, 0, 0, _DROP),
    )


def _as_loaded(value: int, size: int = 2) -> int:
    """Return a field of the machine's order as the program's big-endian load sees it."""
    return int.from_bytes(value.to_bytes(size, sys.byteorder), "big")


def _assemble(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *i) for i in instructions)


def _attach(to: socket.socket, program: bytes) -> None:
    memory = ctypes.create_string_buffer(program, len(program))
    count = len(program) // 8
    # struct sock_fprog: count u16, padding, pointer.
    to.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(memory))
    )
