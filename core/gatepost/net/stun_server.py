"""Answers STUN, so that nodes learn their public addresses.

A node behind a NAT only believes an answer from the address that it asked, so
on a socket bound to all addresses the answer names its source explicitly
(IP_PKTINFO, IPV6_PKTINFO). Anything that is not a node's request gets no
answer. An answer is never longer than 1.1 times its request, so there is
nothing to gain from a forged source; the rate limit protects this machine.
Source: RFC 5389; protocol document 2.7; ip(7), ipv6(7).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from gatepost.errors import WireError
from gatepost.model.netmap import Endpoint
from gatepost.sessions.token_bucket import TokenBucket
from gatepost.wire.stun import read_request, write_answer

log = logging.getLogger(__name__)

PORT = 3478  # UDP, RFC 5389 section 9
TOTAL_RATE = 20_000.0  # answers a second
SOURCE_RATE = 200.0  # answers a second to one address; a site's nodes may share it
SOURCES = 4096  # addresses whose rate is kept; then all start afresh
BATCH = 64  # packets per turn of the loop and socket
_LONGEST = 1280  # octets; a request has 40
_CONTROL = 128  # octets of control messages
_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14 on
_PACKET_INFO_4 = struct.Struct("@I4s4s")  # interface, local address, destination
_PACKET_INFO_6 = struct.Struct("@16sI")  # destination, interface

Ancillary = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StunCounters:
    """Since the start. `refused` were no requests of nodes, `limited` came too fast."""

    answered: int = 0
    refused: int = 0
    limited: int = 0
    unsent: int = 0  # the kernel did not take the answer


class StunServer:
    """Answers on its sockets until closed. `clock` counts seconds and never goes back."""

    def __init__(self, sockets: Sequence[socket.socket], clock: Callable[[], float]) -> None:
        self._sockets = tuple(sockets)
        self._clock = clock
        self._total = TokenBucket(rate=TOTAL_RATE, burst=TOTAL_RATE / 4, now=clock())
        self._sources: dict[str, TokenBucket] = {}
        self._answered = self._refused = self._limited = self._unsent = 0
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._on_readable, sock)

    def counters(self) -> StunCounters:
        return StunCounters(
            answered=self._answered,
            refused=self._refused,
            limited=self._limited,
            unsent=self._unsent,
        )

    def close(self) -> None:
        """Stop answering and close the sockets; safe to call twice."""
        sockets, self._sockets = self._sockets, ()
        for sock in sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()

    def _on_readable(self, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                packet, ancillary, _, source = sock.recvmsg(_LONGEST, _CONTROL)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error of an earlier answer; it is not ours to mend
                log.debug("stun: %s", error)
                return
            answer = self._answer(packet, source)
            if answer is not None:
                self._send(sock, answer, ancillary, source)

    def _answer(self, packet: bytes, source: tuple[str, int]) -> bytes | None:
        host, port = source[:2]
        if not self._permits(host):
            self._limited += 1
            return None
        try:
            transaction = read_request(packet)
        except WireError:  # anybody may send anything here: counted, not logged
            self._refused += 1
            return None
        return write_answer(transaction, Endpoint(ip_address(host.partition("%")[0]), port))

    def _permits(self, host: str) -> bool:
        now = self._clock()
        bucket = self._sources.get(host)
        if bucket is None:
            if len(self._sources) >= SOURCES:
                self._sources.clear()
            bucket = TokenBucket(rate=SOURCE_RATE, burst=SOURCE_RATE, now=now)
            self._sources[host] = bucket
        return bucket.take(now) and self._total.take(now)

    def _send(
        self, sock: socket.socket, answer: bytes, ancillary: Ancillary, source: tuple[str, int]
    ) -> None:
        try:
            sock.sendmsg([answer], _reply_from(ancillary), 0, source)
        except OSError as error:  # full queue or no route: the node asks again
            self._unsent += 1
            log.debug("stun: no answer to %s: %s", source[0], error)
        else:
            self._answered += 1


def serve_stun(
    sockets: Sequence[socket.socket], clock: Callable[[], float] | None = None
) -> StunServer:
    """Answer on bound UDP sockets, IPv4 or IPv6; the server owns them from now on."""
    for sock in sockets:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)  # a dual-stack socket needs both
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return StunServer(sockets, clock or asyncio.get_running_loop().time)


def stun_socket(address: IPv4Address | IPv6Address, port: int = PORT) -> socket.socket:
    """Bind a UDP socket for `serve_stun`; an IPv6 one takes no IPv4."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(address), port))
    except OSError:
        sock.close()
        raise
    return sock


def _reply_from(ancillary: Ancillary) -> Ancillary:
    """Turn "it came to this address" into "send it from there"; the interface is left to routing.

    Only a link-local IPv6 address needs its interface.
    """
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            destination, interface = _PACKET_INFO_6.unpack_from(value)
            kept = interface if IPv6Address(destination).is_link_local else 0
            return [(level, kind, _PACKET_INFO_6.pack(destination, kept))]
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _PACKET_INFO_4.unpack_from(value)
            return [(level, kind, _PACKET_INFO_4.pack(0, local, bytes(4)))]
    return []
