"""UDP sockets that know at which of our addresses a packet arrived, and choose where it leaves.

One `recvmsg` a packet, as many packets a wake-up as there are, up to a bound.
Sending never waits: a full socket or an address without a route loses the
packet, as the network does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.paths_outputs import Local

log = logging.getLogger(__name__)

BATCH = 128  # packets a wake-up; the rest waits for the loop's next turn
LARGEST = 65535  # bytes of a datagram
WINDOW = 0.05  # seconds in which a limited socket hands over so many packets, then rests
RECEIVE_BUFFER = 4 << 20  # bytes; the kernel may give less

# include/uapi/linux/in.h, in6.h, asm-generic/socket.h; the socket module lacks the first two.
IP_PKTINFO = 8
_SO_RCVBUFFORCE = 33
_INFO_V4 = struct.Struct("=I4s4s")  # interface, our address to answer from, destination
_INFO_V6 = struct.Struct("=16sI")  # our address, interface
_MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_PROBE = 3  # IP_PMTUDISC_PROBE: never fragment, and do not believe what ICMP says of the path
ANCILLARY = socket.CMSG_SPACE(_INFO_V6.size)
_LOST = frozenset(
    {errno.EAGAIN, errno.ENOBUFS, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL,
     errno.EINVAL, errno.EPERM, errno.ENETDOWN, errno.EMSGSIZE, errno.EACCES, errno.EAFNOSUPPORT}
)  # fmt: skip

# payload, sender as recvmsg reports it, our address in 4 or 16 bytes, interface
OnPacket = Callable[[bytes, tuple[str, int], bytes, int], None]


class UdpSocket:
    """A bound socket of one IP version, read by the running loop until `close`.

    Raise `OSError` when the port is taken or the version is switched off.
    `on_batch` is called after the packets of a wake-up were handed over. With a
    `limit` of packets in a `WINDOW`, a flood costs no more than that: what the
    kernel's buffer does not hold until the next one is lost, as on a full wire.
    `whole`: what is too long for the path is lost instead of cut into fragments.
    """

    def __init__(
        self,
        address: IPAddress,
        port: int,
        *,
        mark: int,
        on_packet: OnPacket,
        on_batch: Callable[[], None],
        limit: int | None = None,
        whole: bool = False,
    ) -> None:
        self._limit = limit
        self._window = 0.0
        self._read_in_window = 0
        self._resume: asyncio.TimerHandle | None = None
        self._is_v4 = isinstance(address, IPv4Address)
        self._on_packet = on_packet
        self._on_batch = on_batch
        self._buffer = bytearray(LARGEST)
        self._loop = asyncio.get_running_loop()
        self.lost = 0  # packets that could not be sent
        family = socket.AF_INET if self._is_v4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._configure(mark, whole=whole)
            self._socket.bind((str(address), port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._read)

    @property
    def port(self) -> int:
        name: tuple[str, int] = self._socket.getsockname()[:2]
        return name[1]

    def send(self, packet: bytes, to: Endpoint, local: Local | None = None) -> str:
        """Send from our address in `local`, else from the one that the route gives.

        Return what the kernel had against it, "" if nothing: then the packet is lost.
        """
        control = [] if local is None else [packet_info(local)]
        try:
            self._socket.sendmsg((packet,), control, 0, (str(to.address), to.port))
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self.lost += 1
            return os.strerror(error.errno or 0)
        return ""

    def close(self) -> None:
        if self._resume:
            self._resume.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _configure(self, mark: int, *, whole: bool) -> None:
        if whole:
            self._socket.setsockopt(*_MTU_DISCOVER[4 if self._is_v4 else 6], _PROBE)
        if mark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        set_receive_buffer(self._socket)
        if not self._is_v4:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ask_for_arrival(self._socket, is_v4=self._is_v4)

    def _read(self) -> None:
        receive, buffer = self._socket.recvmsg_into, self._buffer
        try:
            for _ in range(self._allowance()):
                size, control, _flags, sender = receive((buffer,), ANCILLARY)
                self._read_in_window += 1
                local, interface = read_arrival(control)
                self._on_packet(bytes(memoryview(buffer)[:size]), sender[:2], local, interface)
        except BlockingIOError:
            pass
        except OSError as error:  # an ICMP error about an earlier packet of ours
            log.debug("receiving: %s", error)
        self._on_batch()

    def _allowance(self) -> int:
        """Return how many packets may be read now; without any left, rest until the next window."""
        if self._limit is None:
            return BATCH
        now = self._loop.time()
        if now - self._window >= WINDOW:
            self._window, self._read_in_window = now, 0
        allowed = min(BATCH, self._limit - self._read_in_window)
        if allowed <= 0:
            self._loop.remove_reader(self._socket)
            self._resume = self._loop.call_at(self._window + WINDOW, self._wake)
        return allowed

    def _wake(self) -> None:
        self._resume = None
        self._loop.add_reader(self._socket, self._read)


def ask_for_arrival(reader: socket.socket, *, is_v4: bool) -> None:
    """Let the kernel say with every packet where it arrived."""
    if is_v4:
        reader.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        reader.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def read_arrival(control: list[tuple[int, int, bytes]]) -> tuple[bytes, int]:
    """Return our address and the interface; the kernel always says them when asked to."""
    for level, kind, value in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            interface, _, local = _INFO_V4.unpack_from(value)
            return local, interface
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, interface = _INFO_V6.unpack_from(value)
            return local, interface
    return b"", 0


def packet_info(local: Local) -> tuple[int, int, bytes]:
    """Return the control message that sends from `local`."""
    if isinstance(local.address, IPv4Address):
        value = _INFO_V4.pack(local.interface, local.address.packed, bytes(4))
        return socket.IPPROTO_IP, IP_PKTINFO, value
    value = _INFO_V6.pack(local.address.packed, local.interface)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, value


def set_receive_buffer(open_socket: socket.socket) -> None:
    """Ask for room for bursts; without CAP_NET_ADMIN the kernel gives what rmem_max allows."""
    try:
        open_socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def make_endpoint(sender: tuple[str, int]) -> Endpoint:
    """Return what `recvmsg` reports as an endpoint, without the interface of a link-local one."""
    host, port = sender
    return Endpoint(ip_address(host.partition("%")[0]), port)
