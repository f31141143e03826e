"""Talks to the kernel by netlink: routing objects through pyroute2, generic families raw.

The only module that imports pyroute2, and of that only rtnetlink's messages: names and
values to bytes and back (`routing_request`, `RoutingMessage`). Measured with 0.9.7: the
messages cost the daemon 1.5 MiB, the whole package 12, so they are imported without it; a
route takes 55 µs to write and 40 µs to read. Its `IPRoute` is not used: a call for one
route takes 0.4 to 0.5 ms (10,000 have 3 s), and its sockets leave warnings behind.
WireGuard and nftables stay raw: one of its calls per peer made 1,000 peers last 4 s
instead of 0.1 s.

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
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from types import TracebackType
from typing import Any, Self, TypeVar

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
from gatepost.linux.package_parts import parts_of

with parts_of("pyroute2"):
    from pyroute2.netlink import rtnl
    from pyroute2.netlink.exceptions import NetlinkDecodeError
    from pyroute2.netlink.rtnl.fibmsg import fibmsg
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

ROUTE, NETFILTER, GENERIC = 0, 12, 16  # netlink protocols
SOL_NETLINK = 270
CAP_ACK, EXT_ACK, STRICT_CHECK = 10, 11, 12
RECEIVE_BUFFER = 4 << 20  # bytes
LONGEST_READ = 1 << 18  # bytes; the kernel's dumps use at most 32 KiB a piece
LONGEST_DATAGRAM = 32 << 10  # bytes of requests in one send
TIMEOUT = 10.0  # seconds for one answer; the kernel answers while it sends
DUMP_TRIES = 8  # a dump that the kernel calls inconsistent is asked for again

_BATCH_BEGIN, _BATCH_END = 16, 17  # NFNL_MSG_BATCH_*
_BATCH = bytes((0, 0, 0, 10))  # nfgenmsg with the subsystem nftables
_CTRL_FAMILY, _CTRL_GET_FAMILY = 16, 3
_CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 1, 2

T = TypeVar("T")


class RoutingType(IntEnum):
    """What a message of the routing socket is about, and what is wanted."""

    NEW_LINK = rtnl.RTM_NEWLINK
    DELETE_LINK = rtnl.RTM_DELLINK
    GET_LINK = rtnl.RTM_GETLINK
    SET_LINK = rtnl.RTM_SETLINK
    NEW_ADDRESS = rtnl.RTM_NEWADDR
    DELETE_ADDRESS = rtnl.RTM_DELADDR
    GET_ADDRESS = rtnl.RTM_GETADDR
    NEW_ROUTE = rtnl.RTM_NEWROUTE
    DELETE_ROUTE = rtnl.RTM_DELROUTE
    GET_ROUTE = rtnl.RTM_GETROUTE
    NEW_RULE = rtnl.RTM_NEWRULE
    DELETE_RULE = rtnl.RTM_DELRULE
    GET_RULE = rtnl.RTM_GETRULE


# Multicast groups that tell of links, addresses, routes, rules, and switches like forwarding.
ROUTING_GROUPS: tuple[int, ...] = (
    rtnl.RTNLGRP_LINK,
    rtnl.RTNLGRP_IPV4_IFADDR,
    rtnl.RTNLGRP_IPV6_IFADDR,
    rtnl.RTNLGRP_IPV4_ROUTE,
    rtnl.RTNLGRP_IPV6_ROUTE,
    rtnl.RTNLGRP_IPV4_RULE,
    rtnl.RTNLGRP_IPV6_RULE,
    rtnl.RTNLGRP_IPV4_NETCONF,
    rtnl.RTNLGRP_IPV6_NETCONF,
)


def _bodies(name: str, message: Any) -> Any:  # untyped library
    """Return pyroute2's class of a message without the header, which our socket writes.

    Its own `get` looks through the attributes for every field, with which a route takes
    twice as long to write.
    """
    return type(name, (message,), {"header": None, "get": dict[str, Any].get})


_SHAPES: Mapping[int, Any] = {  # untyped library; message types come in fours, by what they are of
    RoutingType.NEW_LINK: _bodies("Link", ifinfmsg),
    RoutingType.NEW_ADDRESS: _bodies("Address", ifaddrmsg),
    RoutingType.NEW_ROUTE: _bodies("Route", rtmsg),
    RoutingType.NEW_RULE: _bodies("Rule", fibmsg),
}


def _shape(kind: int) -> Any:  # a class of the untyped library
    try:
        return _SHAPES[kind & ~3]
    except KeyError as error:
        raise OSError(
            errno.EPROTO, f"the kernel answered with the unexpected message type {kind}"
        ) from error


def routing_request(
    kind: RoutingType,
    flags: int,
    fields: Mapping[str, int],
    attributes: Iterable[tuple[str, object]] = (),
    *,
    about: object,
) -> Request:
    """Return a request; `fields` and `attributes` have the names that pyroute2 gives them.

    A value is a number, or text (an address too), or for a nested attribute
    `{"attrs": [(name, value), …]}`.
    """
    message = _shape(kind)()
    message.update(fields)
    message["attrs"] = list(attributes)
    message.encode()
    return Request(kind, flags, bytes(message.data), about)


class RoutingMessage:
    """A message of the routing socket, by pyroute2's names; attributes are read when asked for.

    Raises `OSError` for what does not have the kernel's format.
    """

    def __init__(self, message: Message) -> None:
        self._read = _shape(message.type)(message.body, length=len(message.body))
        try:
            self._read.decode()
        except (NetlinkDecodeError, struct.error) as error:
            raise OSError(errno.EPROTO, f"netlink message {message.type}: {error}") from error
        self._slots: dict[str, Any] = {s.name: s for s in self._read["attrs"]}  # untyped library

    @property
    def names(self) -> AbstractSet[str]:
        """The names of the attributes; one that pyroute2 does not know is "UNKNOWN"."""
        return self._slots.keys()

    def field(self, name: str) -> int:
        """Return a number of the fixed header."""
        return int(self._read[name])

    def number(self, name: str) -> int | None:
        """Return an attribute, None when it is absent."""
        value = self._value(name)
        if value is None or isinstance(value, int):
            return value
        raise OSError(errno.EPROTO, f"netlink attribute {name} is no number: {value!r}")

    def text(self, name: str) -> str | None:
        """Return an attribute, such as an address, None when it is absent."""
        value = self._value(name)
        if value is None or isinstance(value, str):
            return value
        raise OSError(errno.EPROTO, f"netlink attribute {name} is no text: {value!r}")

    def nested_text(self, name: str, inner: str) -> str | None:
        """Return an attribute of an attribute, None when either is absent."""
        value: object = self._read.get_nested(name, inner)
        if value is None or isinstance(value, str):
            return value
        raise OSError(errno.EPROTO, f"netlink attribute {inner} is no text: {value!r}")

    def nested_number(self, name: str, inner: str) -> int | None:
        """Return an attribute of an attribute, None when either is absent."""
        value: object = self._read.get_nested(name, inner)
        if value is None or isinstance(value, int):
            return value
        raise OSError(errno.EPROTO, f"netlink attribute {inner} is no number: {value!r}")

    def _value(self, name: str) -> object:
        return self._slots[name].value if name in self._slots else None


class NetlinkSocket:
    """A blocking request socket. One thread at a time; raises `OSError` in the kernel's words."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.bind((0, 0))
        self.port = int(self._socket.getsockname()[0])  # the sender of what it asks for
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

    def transact(self, requests: Sequence[Request]) -> None:
        """Send changes of nftables that count all together or not at all; raise a refusal.

        The first change that is refused is reported; what refuses the whole is reported
        for the message that begins it.
        """
        begin, last = self._sequence + 1, self._sequence + 1 + len(requests)
        self._sequence = last + 1
        framed = (Request(_BATCH_BEGIN, 0, _BATCH), *requests, Request(_BATCH_END, 0, _BATCH))
        self._socket.send(
            b"".join(
                r.encode(begin + n, ACK if begin + n == last else 0) for n, r in enumerate(framed)
            )
        )
        refused: OSError | None = None
        while True:
            for message in self._receive():
                if message.type != ERROR or not begin <= message.sequence <= last:
                    continue
                answer = read_answer(message)
                if answer.code and refused is None:
                    refused = refusal(answer, framed[message.sequence - begin].about)
                if message.sequence in {begin, last}:
                    if refused is not None:
                        raise refused
                    return

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
