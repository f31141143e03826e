"""Talks to the kernel by netlink: routing objects and generic families.

Written on the plain socket, not on pyroute2, for three measured reasons:
importing any part of pyroute2 0.9 imports all of it (13.6 MiB resident, a sixth of
what the daemon may use), encoding one route takes it 75 µs and decoding 34 µs (here
about 3 µs each, and 10,000 routes are read every minute), and one of its calls per
WireGuard peer made 1,000 peers last 4 s instead of 0.1 s.

Why a thread: the kernel does the work inside `send`, under its own locks, so a
non-blocking socket would still stop the event loop for as long as 10,000 routes
take. One thread does all of it, one request after the other; the socket was opened
by whoever built the object, so it stays in that network namespace.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from gatepost.errors import Malformed
from gatepost.linux.netlink_message import (
    ACK,
    DONE,
    DUMP,
    DUMP_INTERRUPTED,
    ERROR,
    OVERRUN,
    Answer,
    Message,
    Request,
    read_answer,
    read_attributes,
    read_integer,
    read_messages,
    text,
)

ROUTE, NETFILTER, GENERIC = 0, 12, 16  # netlink protocols
SOL_NETLINK = 270
CAP_ACK, EXT_ACK, STRICT_CHECK = 10, 11, 12
RECEIVE_BUFFER = 4 << 20  # bytes
LONGEST_READ = 1 << 18  # bytes; the kernel's dumps use at most 32 KiB a piece
LONGEST_DATAGRAM = 32 << 10  # bytes of requests in one send
TIMEOUT = 10.0  # seconds for one answer; the kernel answers while it sends
DUMP_TRIES = 8  # a dump that the kernel calls inconsistent is asked for again

_CTRL_FAMILY, _CTRL_GET_FAMILY = 16, 3
_CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 1, 2

T = TypeVar("T")


class NetlinkSocket:
    """A blocking request socket. One thread at a time; raises `OSError` in the kernel's words."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.bind((0, 0))
        self._socket.settimeout(TIMEOUT)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        for option in (CAP_ACK, EXT_ACK, STRICT_CHECK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def write(self, requests: Iterable[Request], harmless: frozenset[int] = frozenset()) -> None:
        """Send all requests, many per system call; raise the first refusal after the last.

        `harmless` are the errno values that mean "it already is so".
        """
        refused: list[OSError] = []
        for batch in batches(requests):
            refused.extend(self._write_batch(batch, harmless))
        if refused:
            raise refused[0]

    def _write_batch(self, batch: Sequence[Request], harmless: frozenset[int]) -> list[OSError]:
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(batch)
        # Only the last asks to be acknowledged: the kernel reports refusals unasked.
        self._socket.send(
            b"".join(
                r.encode(first + n, ACK if first + n == last else 0) for n, r in enumerate(batch)
            )
        )
        refused: list[OSError] = []
        while True:
            for message in self._receive():
                if message.type != ERROR or not first <= message.sequence <= last:
                    continue
                answer = read_answer(message)
                if answer.code and answer.code not in harmless:
                    refused.append(refusal(answer, batch[message.sequence - first].about))
                if message.sequence == last:
                    return refused

    def ask(self, request: Request) -> list[Message]:
        """Return the messages that answer one request, which may be a dump."""
        for _ in range(DUMP_TRIES):
            messages, interrupted = self._ask_once(request)
            if not interrupted:
                return messages
        raise OSError(
            errno.EINTR, f"netlink dump {request.type} changed {DUMP_TRIES} times while it was read"
        )

    def _ask_once(self, request: Request) -> tuple[list[Message], bool]:
        self._sequence += 1
        dump = request.flags & DUMP == DUMP
        self._socket.send(request.encode(self._sequence, 0 if dump else ACK))
        found: list[Message] = []
        interrupted = False
        while True:
            for message in self._receive():
                if message.sequence != self._sequence:
                    continue  # the rest of an answer that timed out
                interrupted |= bool(message.flags & DUMP_INTERRUPTED) and dump
                if message.type not in {ERROR, DONE}:
                    found.append(message)
                    continue
                answer = read_answer(message)
                if answer.code:
                    raise refusal(answer, request.about)
                return found, interrupted

    def _receive(self) -> Iterator[Message]:
        try:
            datagram = self._socket.recv(LONGEST_READ)
        except TimeoutError as error:
            raise TimeoutError(
                f"the kernel did not answer on netlink within {TIMEOUT} s"
            ) from error
        try:
            return iter([m for m in read_messages(datagram) if m.type != OVERRUN])
        except Malformed as error:
            raise OSError(errno.EPROTO, f"netlink: {error}") from error

    def family(self, name: str) -> int:
        """Return the number of a generic family; `FileNotFoundError` when the kernel has none."""
        body = bytes((_CTRL_GET_FAMILY, 1, 0, 0)) + text(_CTRL_FAMILY_NAME, name)
        for message in self.ask(Request(_CTRL_FAMILY, 0, body)):
            for kind, payload in read_attributes(message.body, 4):
                if kind == _CTRL_FAMILY_ID:
                    return read_integer(payload, 2)
        raise FileNotFoundError(errno.ENOENT, f"the kernel has no netlink family {name}")


def refusal(answer: Answer, about: object) -> OSError:
    """Return the error (of the right subclass of `OSError`) with the kernel's own words."""
    words = os.strerror(answer.code)
    if answer.text:
        words = f"{words}: {answer.text}"
    return OSError(answer.code, words if about is None else f"{about}: {words}")


def batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Split requests so that each part fits one datagram."""
    batch: list[Request] = []
    size = 0
    for request in requests:
        length = len(request.body) + 20
        if batch and size + length > LONGEST_DATAGRAM:
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += length
    if batch:
        yield batch


class Netlink:
    """The netlink sockets of one network namespace, used from a thread of their own.

    Built inside the namespace it shall work in. `close`, or the end of a `with`
    block, ends the thread.
    """

    def __init__(self) -> None:
        self.route = NetlinkSocket(ROUTE)
        self.generic = NetlinkSocket(GENERIC)
        self.netfilter = NetlinkSocket(NETFILTER)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking netlink work in the thread; its `OSError` is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def ask(self, request: Request) -> list[Message]:
        """Ask the routing socket."""
        return await self.run(lambda: self.route.ask(request))

    async def write(
        self, requests: Sequence[Request], harmless: frozenset[int] = frozenset()
    ) -> None:
        """Write to the routing socket, many requests per system call."""
        if requests:
            await self.run(lambda: self.route.write(requests, harmless))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._thread.shutdown()
        for each in (self.route, self.generic, self.netfilter):
            each.close()
