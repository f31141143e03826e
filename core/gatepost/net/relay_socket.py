"""The UDP socket of a relay server: handshakes to the session, packets of flows onward.

What the kernel's program forwards never gets here. What does is forwarded as the
kernel would, in batches: with `batches` the kernel hands over up to 64 packets of one
sender as one (UDP_GRO), and takes as many of one size back as one (UDP_SEGMENT);
that is fifteen times as fast as packet by packet. A batch may mix places, since
they share the client's port: then it is taken apart.
Sources: udp(7); data path document, B and F1.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.net.udp import (
    ANCILLARY,
    ask_for_arrival,
    make_endpoint,
    packet_info,
    read_arrival,
    set_receive_buffer,
)
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.relay_server import Flow, Onward
from gatepost.wire.geneve import HEADER_LENGTH
from gatepost.wire.stun import is_stun

log = logging.getLogger(__name__)

BATCH = 64  # reads a wake-up; the rest waits for the loop's next turn
LARGEST = 65535  # bytes of a datagram or batch
WINDOW = 0.05  # seconds in which so many packets that lead nowhere are read, then it rests
IDLE_READS = 400  # handshakes and strangers' packets in a window, some 8,000 a second
SEND_BUFFER = 4 << 20  # bytes
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_SO_SNDBUFFORCE = 32
_ANCILLARY = ANCILLARY + socket.CMSG_SPACE(4)
_SEGMENT = struct.Struct("=H")
_CONTROL = 0x80
_TOO_LONG = frozenset({errno.EMSGSIZE, errno.EINVAL})

Ancillary = list[tuple[int, int, bytes]]
Source = tuple[str, int, bytes]  # host and port as recvmsg says them, and the VNI's 3 bytes
OnControl = Callable[[bytes, Endpoint, Local], None]


@dataclass(slots=True)
class Target:
    """Where the packets of one flow go, and what has gone there."""

    flow: Flow
    out: socket.socket
    control: Ancillary
    to: tuple[str, int]
    packets: int = 0
    octets: int = 0
    lost: int = 0


class RelayTable:
    """The flows that user space forwards, by what `recvmsg` says of a packet."""

    def __init__(self) -> None:
        self._outs: dict[int, socket.socket] = {}
        self.targets: dict[Source, Target] = {}

    def use(self, version: int, out: socket.socket) -> None:
        """Send packets to addresses of this IP version by this socket."""
        self._outs[version] = out

    def put(self, flow: Flow, onward: Onward) -> None:
        """Forward a flow from now on; to an IP version without a socket it cannot be."""
        out = self._outs.get(onward.to.address.version)
        if out is None:
            return
        control = [packet_info(Local(onward.here, 0))]
        to = str(onward.to.address), onward.to.port
        self.targets[_key(flow)] = Target(flow, out, control, to)

    def drop(self, flow: Flow) -> None:
        self.targets.pop(_key(flow), None)


class RelaySocket:
    """A bound socket of one IP version, read by the running loop until `close`.

    Raise `OSError` when the port is taken or the version is switched off. A flood of
    packets that are not forwarded costs no more than a few percent of a processor:
    what the kernel's buffer does not hold until the next window is lost.
    """

    def __init__(
        self,
        address: IPAddress,
        port: int,
        table: RelayTable,
        *,
        mark: int,
        on_control: OnControl,
        on_stun: Callable[[bytes], None],
    ) -> None:
        self.version = address.version
        self.unknown = 0  # packets of no flow
        self._idle_reads = 0  # in this window
        self._window = 0.0
        self._resume: asyncio.TimerHandle | None = None
        self._table = table
        self._on_control = on_control
        self._on_stun = on_stun
        self._buffer = bytearray(LARGEST)
        self._view = memoryview(self._buffer)
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._configure(mark)
            self._socket.bind((str(address), port))
        except OSError:
            self._socket.close()
            raise
        table.use(self.version, self._socket)
        self._loop.add_reader(self._socket, self._read)

    @property
    def port(self) -> int:
        name: tuple[str, int] = self._socket.getsockname()[:2]
        return name[1]

    def take_batches(self, *, wanted: bool) -> None:
        """Let the kernel hand over many packets as one, or not.

        Not while it forwards by itself: one packet that is glued to those of another
        place takes them all out of the kernel's hands.
        """
        self._socket.setsockopt(_SOL_UDP, _UDP_GRO, int(wanted))

    def send(self, packet: bytes, to: Endpoint, local: Local | None = None) -> None:
        """Send one packet; without a way there it is lost."""
        control = [] if local is None else [packet_info(local)]
        self._send((packet,), control, (str(to.address), to.port))

    def close(self) -> None:
        if self._resume:
            self._resume.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _configure(self, mark: int) -> None:
        if mark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        set_receive_buffer(self._socket)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        is_v4 = self.version == 4  # noqa: PLR2004  # the version of IP
        if not is_v4:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ask_for_arrival(self._socket, is_v4=is_v4)

    def _read(self) -> None:
        receive, buffers = self._socket.recvmsg_into, (self._buffer,)
        try:
            for _ in range(self._allowance()):
                size, control, _flags, sender = receive(buffers, _ANCILLARY)
                self._take(size, control, sender)
        except BlockingIOError:
            pass
        except OSError as error:  # an ICMP error about an earlier packet of ours
            log.debug("receiving: %s", error)

    def _allowance(self) -> int:
        """Return how many packets may be read now; after too many for nothing, rest a while."""
        now = self._loop.time()
        if now - self._window >= WINDOW:
            self._window, self._idle_reads = now, 0
        if self._idle_reads < IDLE_READS:
            return BATCH
        self._loop.remove_reader(self._socket)
        self._resume = self._loop.call_at(self._window + WINDOW, self._wake)
        return 0

    def _wake(self) -> None:
        self._resume = None
        self._loop.add_reader(self._socket, self._read)

    def _take(self, size: int, control: Ancillary, sender: tuple[str, int]) -> None:
        """Take what one read brought: a packet, or a batch of packets of one size."""
        if not size:  # it costs a read as well
            self._ignore()
            return
        segment, buffer = _segment(control) or size, self._buffer
        if size <= segment or not self._is_uniform(size, segment):
            for start in range(0, size, segment):
                self._take_one(start, min(start + segment, size), control, sender)
            return
        target = self._table.targets.get((sender[0], sender[1], bytes(buffer[4:7])))
        if target is None:
            self._ignore()
        elif not self._forward(target, 0, size, segment):
            for start in range(0, size, segment):
                self._forward(target, start, min(start + segment, size), 0)

    def _is_uniform(self, size: int, segment: int) -> bool:
        """Say whether all packets of a batch are data of one place."""
        buffer, count = self._buffer, -(-size // segment)
        whole = segment > HEADER_LENGTH and size - (count - 1) * segment >= HEADER_LENGTH
        return whole and all(
            buffer[i:size:segment].count(value) == count
            for i, value in ((0, 0), (1, 0), (4, buffer[4]), (5, buffer[5]), (6, buffer[6]))
        )

    def _take_one(self, start: int, end: int, control: Ancillary, sender: tuple[str, int]) -> None:
        buffer = self._buffer
        if end - start < HEADER_LENGTH:
            self._ignore()
            return
        if buffer[start] == 0 and buffer[start + 1] == 0:
            vni = bytes(buffer[start + 4 : start + 7])
            target = self._table.targets.get((sender[0], sender[1], vni))
            if target is None:
                self._ignore()
            else:
                self._forward(target, start, end, 0)
            return
        self._idle_reads += 1
        packet = bytes(self._view[start:end])
        if is_stun(packet):
            self._on_stun(packet)
        elif packet[1] & _CONTROL:
            local, interface = read_arrival(control)
            here = Local(ip_address(local), interface)
            self._on_control(packet, make_endpoint((sender[0], sender[1])), here)

    def _ignore(self) -> None:
        self.unknown += 1
        self._idle_reads += 1

    def _forward(self, target: Target, start: int, end: int, segment: int) -> bool:
        """Send a part of the buffer onward; False when it must be sent packet by packet."""
        control, count = target.control, 1
        if segment:
            control = [*control, (_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment))]
            count = -(-(end - start) // segment)
        try:
            target.out.sendmsg((self._view[start:end],), control, 0, target.to)
        except OSError as error:
            if segment and error.errno in _TOO_LONG:
                return False
            target.lost += count
        # What came in shows that the end lives, whether or not it could be sent.
        target.packets += count
        target.octets += end - start
        return True

    def _send(self, parts: tuple[bytes], control: Ancillary, to: tuple[str, int]) -> None:
        try:
            self._socket.sendmsg(parts, control, 0, to)
        except OSError as error:
            log.debug("not sent to %s: %s", to[0], error)


def _key(flow: Flow) -> Source:
    return str(flow.source.address), flow.source.port, flow.vni.to_bytes(3, "big")


def _segment(control: Ancillary) -> int:
    """Return the size of the packets that were glued together, 0 for a single one."""
    for level, kind, value in control:
        if level == _SOL_UDP and kind == _UDP_GRO:
            return int.from_bytes(value[:4], sys.byteorder)
    return 0
