"""Asks a host of the LAN in a stranger's name, and watches whether the answer comes back here.

An echo request leaves with the address of another site as its source. A host that knows the
way to that site answers through this box, where a packet socket sees it arrive, and from which
machine: from the host itself, or from a router that it left the answer to. The other site
gets an answer that it did not ask for, which it ignores.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from gatepost.errors import UnreachableError, WireError
from gatepost.model.netmap import IPAddress
from gatepost.wire.icmp import REPLY, Echo, read_echo, write_request

AGAIN = 0.5  # seconds after which an echo request is repeated
LONGEST = 256  # octets that are read of a packet
_COOKIE = 16  # octets that tell our echo from others
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75  # Linux: in.h, in6.h; a source that is not ours
_ATTACH_FILTER = 26  # Linux: SO_ATTACH_FILTER
_TO_US = 0  # Linux: PACKET_HOST
_FIXED_V6 = 40  # octets of the header of IPv6


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that came back to this box: by which device, from which link address, how soon."""

    device: str
    sender: str  # "02:00:00:00:00:01"
    latency: float  # seconds


async def ask_as(
    target: IPAddress,
    source: IPAddress,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Answer | None:
    """Ask `target` in the name of `source`; None when no answer came back here in time.

    Both are of one version of IP. Raise `UnreachableError` when there is no way to the target
    or this program may not do that (CAP_NET_RAW and CAP_NET_ADMIN).
    """
    version, identifier = target.version, secrets.randbelow(0xFFFF) + 1
    cookie = secrets.token_bytes(_COOKIE)
    request = write_request(Echo(False, identifier, 1, cookie), version)
    with contextlib.ExitStack() as stack:
        try:
            watcher = stack.enter_context(_watcher(version, identifier))
            sender = stack.enter_context(_sender(source))
            began = clock()
            sender.sendto(request, (str(target), 0))
        except OSError as error:
            raise UnreachableError(f"{target} cannot be asked as {source}: {error}") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                repeating = group.create_task(_repeat(sender, request, target), name="repeat")
                device, address = await _answer(watcher, target, source, cookie)
                repeating.cancel()
                return Answer(device, address, clock() - began)
    return None


async def _repeat(sender: socket.socket, request: bytes, target: IPAddress) -> None:
    while True:
        await asyncio.sleep(AGAIN)
        with contextlib.suppress(OSError):  # a full queue, or a neighbour that is still sought
            sender.sendto(request, (str(target), 0))


async def _answer(
    watcher: socket.socket, target: IPAddress, source: IPAddress, cookie: bytes
) -> tuple[str, str]:
    """Wait for the packet that is the answer; return its device and its sender's link address."""
    loop = asyncio.get_running_loop()
    while True:
        packet, place = await loop.sock_recvfrom(watcher, LONGEST)
        device, _, kind, _, address = place
        if kind == _TO_US and is_answer(packet, target, source, cookie):
            return str(device), ":".join(f"{octet:02x}" for octet in address)


def is_answer(packet: bytes, target: IPAddress, source: IPAddress, cookie: bytes) -> bool:
    """Say whether this IP packet is the answer to us; fragments are none."""
    if target.version == 4:  # noqa: PLR2004  # the version of IP
        head, ends = (packet[0] & 15) * 4 if packet else 0, packet[12:20]
    else:
        head, ends = _FIXED_V6, packet[8:_FIXED_V6]
    if ends != target.packed + source.packed:
        return False
    try:
        echo = read_echo(packet[head:], target.version)
    except WireError:
        return False
    return echo.is_reply and echo.payload[:_COOKIE] == cookie


def _sender(source: IPAddress) -> socket.socket:
    version = source.version
    sock = socket.socket(_FAMILY[version], socket.SOCK_RAW, _PROTOCOL[version])
    try:
        sock.setblocking(False)
        if version == 4:  # noqa: PLR2004  # the version of IP
            sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        sock.bind((str(source), 0))
    except OSError:
        sock.close()
        raise
    return sock


def _watcher(version: int, identifier: int) -> socket.socket:
    """Return a socket that sees echo replies with this identifier and nothing else."""
    # Of every device. What comes before the filter is there is looked at and dropped.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETHERTYPE[version]))
    try:
        sock.setblocking(False)
        program = b"".join(struct.pack("=HBBI", *step) for step in _program(version, identifier))
        held = ctypes.create_string_buffer(program)
        steps = len(program) // 8
        sock.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", steps, ctypes.addressof(held))
        )
    except OSError:
        sock.close()
        raise
    return sock


def _program(version: int, identifier: int) -> tuple[tuple[int, int, int, int], ...]:
    """Return classic BPF (RFC-less; Linux: networking/filter): code, jumps if true and false, k."""
    byte, half, byte_at_x, half_at_x = 0x30, 0x28, 0x50, 0x48  # what is loaded
    header_to_x, equal, give = 0xB1, 0x15, 0x06
    if version == 4:  # noqa: PLR2004  # the version of IP
        return (
            (byte, 0, 0, 9),
            (equal, 0, 6, socket.IPPROTO_ICMP),
            (header_to_x, 0, 0, 0),
            (byte_at_x, 0, 0, 0),
            (equal, 0, 3, REPLY[4]),
            (half_at_x, 0, 0, 4),
            (equal, 0, 1, identifier),
            (give, 0, 0, LONGEST),
            (give, 0, 0, 0),
        )
    return (
        (byte, 0, 0, 6),
        (equal, 0, 5, socket.IPPROTO_ICMPV6),
        (byte, 0, 0, _FIXED_V6),
        (equal, 0, 3, REPLY[6]),
        (half, 0, 0, _FIXED_V6 + 4),
        (equal, 0, 1, identifier),
        (give, 0, 0, LONGEST),
        (give, 0, 0, 0),
    )


def own_address_towards(target: IPAddress) -> IPAddress | None:
    """Return the address that this machine itself would send from; None without a way there."""
    with socket.socket(_FAMILY[target.version], socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(target), 9))  # sends nothing
        except OSError:
            return None
        return ip_address(str(sock.getsockname()[0]).partition("%")[0])
