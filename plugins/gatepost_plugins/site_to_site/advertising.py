"""The service that sends router advertisements: who asks is answered, all are told now and then.

A route that is taken back is said to be so three times, all of them when nobody wants the service
any more. When it ends with the daemon nothing is taken back: the box goes on forwarding, and hosts
keep a route for its lifetime.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Network

from gatepost.api import ServiceContext, Watch
from gatepost.wire.router_advertisement import (
    SOLICITATION,
    RouteInformation,
    in_packets,
    is_solicitation,
    write_advertisement,
)

log = logging.getLogger(__name__)

LIFETIME = (
    1800  # seconds that a host keeps a route it has heard of (RFC 4861: 3 times the interval)
)
INTERVAL = 600.0  # seconds between advertisements that nobody asked for
FIRST = (0.0, 2.0, 4.0)  # seconds before each of the first; a link may need two to be ready
ANSWER_DELAY_MOST = 0.5  # seconds, chosen at random (MAX_RA_DELAY_TIME)
ANSWER_PAUSE = 3.0  # seconds between answers (MIN_DELAY_BETWEEN_RAS)
LONGEST = 1500  # octets that are read of a question
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
_HOP_LIMIT = 255  # proves that a message comes from this link (RFC 4861, 6.1)
_ICMP6_FILTER = 1  # Linux: icmpv6.h
_CONTROL = 64  # octets of ancillary data


@dataclass(frozen=True, slots=True)
class Announced:
    """What hosts have been told, by network device."""

    routes: tuple[tuple[str, frozenset[IPv6Network]], ...] = ()


@dataclass(frozen=True, slots=True)
class WatchAnnounced(Watch[Announced]):
    """What hosts have been told and must be told again if it ends; the service answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What hosts on one network device are told, and what is taken back."""

    link: str
    routes: frozenset[IPv6Network] = frozenset()
    withdrawn: frozenset[IPv6Network] = frozenset()

    def __str__(self) -> str:
        told = ", ".join(map(str, sorted(self.routes))) or "nothing"
        gone = ", ".join(map(str, sorted(self.withdrawn)))
        return f"{self.link}: {told}" + (f"; not any more {gone}" if gone else "")


async def advertise(context: ServiceContext, parameters: tuple[Parameters, ...]) -> None:
    """Advertise on all these links until cancelled; raise `OSError` that names a link."""
    all_of_it = tuple((p.link, p.routes | p.withdrawn) for p in parameters)
    await context.answer(WatchAnnounced(), Announced(all_of_it))
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(contextlib.closing(Link.open(p))) for p in parameters]
        async with asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(link.run(), name=f"advertise on {link.parameters.link}")
            for link in links:
                await link.introduced.wait()
            if any(p.withdrawn for p in parameters):
                kept = tuple((p.link, p.routes) for p in parameters if p.routes)
                await context.answer(WatchAnnounced(), Announced(kept))


async def take_back(_: object, parameters: tuple[Parameters, ...]) -> None:
    """Say on all these links that none of the routes is there any more."""
    with contextlib.ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            for told in parameters:
                gone = Parameters(link=told.link, withdrawn=told.routes | told.withdrawn)
                try:
                    link = stack.enter_context(contextlib.closing(Link.open(gone)))
                except OSError as error:  # the device is gone, and hosts behind it hear nothing
                    log.info("%s", error)
                    continue
                group.create_task(link.introduce(), name=f"take back on {told.link}")


@dataclass(slots=True)
class Link:
    """One network device with its socket."""

    parameters: Parameters
    sock: socket.socket
    introduced: asyncio.Event = field(default_factory=asyncio.Event)
    _last: float = float("-inf")

    @classmethod
    def open(cls, parameters: Parameters) -> Link:
        try:
            return cls(parameters, _open(parameters.link))
        except OSError as error:
            raise OSError(
                error.errno, f"router advertisements on {parameters.link}: {error.strerror}"
            ) from error

    def close(self) -> None:
        self.sock.close()

    async def run(self) -> None:
        """Introduce the routes, then repeat them and answer, for ever."""
        await self.introduce()
        while True:
            await self._speak_within(_about(INTERVAL))

    async def introduce(self) -> None:
        """Tell it as often as it takes until everybody has heard."""
        for pause in FIRST:
            await self._speak_within(pause)
        self.introduced.set()

    async def _speak_within(self, seconds: float) -> None:
        """Advertise after that time, or sooner if somebody asks."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.asked()
                waited = asyncio.get_running_loop().time() - self._last
                await asyncio.sleep(max(ANSWER_PAUSE - waited, _fraction() * ANSWER_DELAY_MOST))
        self._send()

    async def asked(self) -> None:
        """Wait for a question from this link."""
        loop = asyncio.get_running_loop()
        while True:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self.sock, _tell, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self.sock)
            if self._read():
                return

    def _read(self) -> bool:
        try:
            message, control, _, _ = self.sock.recvmsg(LONGEST, _CONTROL)
        except OSError:  # nothing there any more, or an error about what we sent
            return False
        limits = [
            int.from_bytes(value[:4], "little")
            for level, kind, value in control
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
        ]
        return limits == [_HOP_LIMIT] and is_solicitation(message)

    def _send(self) -> None:
        self._last = asyncio.get_running_loop().time()
        for advertisement in in_packets(_routes(self.parameters)):
            try:
                self.sock.sendto(write_advertisement(advertisement), (ALL_NODES, 0))
            except OSError as error:  # the link is down, or not ready; there is a next time
                log.info("router advertisement on %s: %s", self.parameters.link, error)


def _routes(parameters: Parameters) -> Iterator[RouteInformation]:
    for prefix in sorted(parameters.routes):
        yield RouteInformation(prefix=prefix, lifetime=LIFETIME)
    for prefix in sorted(parameters.withdrawn):
        yield RouteInformation(prefix=prefix, lifetime=0)


def _open(link: str) -> socket.socket:
    index = socket.if_nametoindex(link)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 58)  # ICMPv6
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            sock.setsockopt(socket.IPPROTO_IPV6, option, _HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, only(SOLICITATION))
    except OSError:
        sock.close()
        raise
    return sock


def only(kind: int) -> bytes:
    """Return the kernel's filter that lets one type of message in: a bit is set for each other."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("@8I", *words)


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _about(seconds: float) -> float:
    """Return up to a quarter less, so that routers do not speak all at once."""
    return seconds * (1 - _fraction() / 4)


def _fraction() -> float:
    return secrets.randbelow(1000) / 1000
