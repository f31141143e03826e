"""Control messages inside the tunnel: answers pings, and tells and hears discovery keys.

WireGuard proves who a packet from the tunnel is from; a packet of protocol 99
from anywhere else is ignored. The kernel would answer for a protocol that
nobody listens to that it is unreachable; our sockets stop that.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, ip_address

from gatepost.errors import WireError
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import IPAddress, Node
from gatepost.net.renewed import RenewedKeys
from gatepost.net.udp import ANCILLARY, ask_for_arrival, packet_info, read_arrival
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.token_bucket import TokenBucket
from gatepost.wire.tsmp import (
    COOKIE_LENGTH,
    PROTOCOL,
    DiscoKey,
    TsmpMessage,
    TsmpPing,
    TsmpPong,
    read_tsmp,
    write_tsmp,
)

log = logging.getLogger(__name__)

BATCH = 64  # packets a wake-up
LONGEST = 512  # bytes that are read of a packet
ANSWERS = 100.0  # a second, to all peers together
AGAIN = 1.0  # seconds after which a ping is repeated


class Tsmp:
    """The sockets of one node. `device` is the tunnel's name, `disco` our discovery key.

    `on_key` hears what a peer says its discovery key is; it may not wait.
    """

    def __init__(
        self,
        device: str,
        disco: DiscoPublic,
        *,
        on_key: Callable[[NodePublic, DiscoPublic], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._disco = disco
        self._on_key = on_key
        self._clock = clock
        self._answers = TokenBucket(rate=ANSWERS, burst=ANSWERS, now=clock())
        self._sockets: dict[int, socket.socket] = {}
        self._waiting: dict[bytes, asyncio.Future[float]] = {}
        # Their own addresses only: who routes for others does not speak for them.
        self._owners: dict[IPAddress, NodePublic] = {}
        self._first: dict[NodePublic, IPAddress] = {}
        self._renewed = RenewedKeys(self.advertise)

    def open(self, stack: AsyncExitStack) -> None:
        """Listen until the stack ends. Raise `OSError` without CAP_NET_RAW."""
        loop = asyncio.get_running_loop()
        for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            try:
                made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
            except OSError:
                if version == 4:  # noqa: PLR2004  # the version of IP
                    raise
                continue  # no IPv6 here
            stack.callback(made.close)
            ask_for_arrival(made, is_v4=family == socket.AF_INET)
            loop.add_reader(made, self._read, made)
            stack.callback(loop.remove_reader, made)
            self._sockets[version] = made
        stack.callback(self._sockets.clear)

    def set_peers(self, peers: Iterable[Node]) -> None:
        """Take the peers of a new netmap."""
        known = tuple(peers)
        self._owners = {a: p.key for p in known for a in p.addresses}
        self._first = {p.key: p.addresses[0] for p in known if p.addresses}
        self._renewed.set_peers(known)

    def advertise(self, key: NodePublic) -> None:
        """Tell a peer our discovery key: it may know the one from before our last start."""
        if address := self._first.get(key):
            self._send(DiscoKey(self._disco), address)

    async def ping(self, to: IPAddress, timeout: float) -> float | None:  # noqa: ASYNC109  # the operator's number
        """Return the seconds until the node at `to` answered; None if it did not."""
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        cookie = secrets.token_bytes(COOKIE_LENGTH)
        self._waiting[cookie] = answer
        end = self._clock() + timeout
        try:
            while (left := end - self._clock()) > 0:
                began = self._clock()
                self._send(TsmpPing(cookie), to)
                await asyncio.wait((answer,), timeout=min(left, AGAIN))
                if answer.done():
                    return answer.result() - began
        finally:
            del self._waiting[cookie]
        return None

    def _read(self, reader: socket.socket) -> None:
        is_v4 = reader.family == socket.AF_INET
        try:
            for _ in range(BATCH):
                packet, control, _, sender = reader.recvmsg(LONGEST, ANCILLARY)
                local, interface = read_arrival(control)
                if not local or not self._is_tunnel(interface):
                    continue
                if is_v4:  # a raw socket shows the header
                    packet = packet[(packet[0] & 15) * 4 :]
                here = Local(ip_address(local), interface)
                self._on_packet(packet, ip_address(str(sender[0]).partition("%")[0]), here)
        except BlockingIOError:
            return
        except OSError as error:  # an ICMP error about an earlier packet of ours
            log.debug("receiving: %s", error)

    def _is_tunnel(self, interface: int) -> bool:
        try:
            return socket.if_indextoname(interface) == self._device
        except OSError:  # it has just gone
            return False

    def _on_packet(self, payload: bytes, sender: IPAddress, here: Local) -> None:
        try:
            message = read_tsmp(payload)
        except WireError as error:
            log.debug("dropped a control message of %s: %s", sender, error)
            return
        match message:
            case TsmpPing(cookie) if self._answers.take(self._clock()):
                self._send(TsmpPong(cookie), sender, here)
            case TsmpPong(cookie):
                answer = self._waiting.get(cookie)
                if answer and not answer.done():
                    answer.set_result(self._clock())
            case DiscoKey(key):
                if owner := self._owners.get(sender):
                    self._on_key(owner, key)
            case _:  # a refusal, which the kernel's own rules have no use for
                pass

    def _send(self, message: TsmpMessage, to: IPAddress, local: Local | None = None) -> None:
        sender = self._sockets.get(4 if isinstance(to, IPv4Address) else 6)
        if sender is None:
            return
        control = [] if local is None else [packet_info(local)]
        try:
            sender.sendmsg((write_tsmp(message),), control, 0, (str(to), 0))
        except OSError as error:  # a full buffer, or the tunnel has just gone
            log.debug("control message to %s: %s", to, error)
