"""`gatepost ping`: asks a peer's path discovery, and the peer itself through the tunnel.

Path discovery says by which path packets go; an echo through the tunnel works
with every kind of peer. Both are sent at once; the first is shown if it comes
within a second of the other. Who asks for one of them gets that one alone.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gatepost.errors import NotFoundError, WireError
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import IPAddress, NetMap, Node
from gatepost.model.status import PingDocument, PingKind
from gatepost.net.path_ports import PathInfo, PingResult
from gatepost.wire.icmp import Echo, read_echo, write_request

AGAIN = 1.0  # seconds after which a lost echo is sent again
GRACE = 1.0  # seconds that path discovery has after the echo was answered
_LONGEST = 10_000  # octets of an answer
_COOKIE = 16  # octets
_HEADERS = {4: 28, 6: 48}  # octets of IP and ICMP

T = TypeVar("T")
PathPing = Callable[[NodePublic, float, int], Awaitable[PingResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PingQuestion:
    """What to ask: at most `seconds` for the answer; `size` is octets of the packet, 0 any."""

    target: str
    seconds: float
    kind: PingKind = "disco"
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a ping needs of the node: `path_ping` by key, seconds and size."""

    path_ping: PathPing
    tsmp_ping: Callable[[IPAddress, float], Awaitable[float | None]]
    path_of: Callable[[NodePublic], PathInfo | None]
    region_name: Callable[[int], str]


def find_target(netmap: NetMap | None, target: str) -> tuple[Node, IPAddress]:
    """Return the peer that a name or an address means, and the address to ask."""
    peers = netmap.peers if netmap else ()
    wanted = target.strip().rstrip(".").lower()
    for peer in peers:
        for address in peer.addresses:
            if str(address) == wanted:
                return peer, address
        if wanted in {peer.name.lower(), peer.label.lower()} and peer.addresses:
            return peer, peer.addresses[0]
    if netmap and wanted in {netmap.me.label.lower(), *map(str, netmap.me.addresses)}:
        raise NotFoundError(f"{target} is this box itself")
    raise NotFoundError(f"no peer is called {target!r}; `gatepost status` lists them")


async def ping_peer(
    question: PingQuestion, found: tuple[Node, IPAddress], means: Means
) -> PingDocument:
    """Ask one peer; a document without latency means that no answer came in time."""
    peer, address = found
    result, echo = await _answers(question, peer, address, means)
    if result.latency is not None:
        info = PathInfo(result.kind, result.endpoint, result.region, vni=result.vni)
        latency: float | None = result.latency
    else:
        info, latency = means.path_of(peer.key) or PathInfo("none"), echo
    answered = latency is not None
    return PingDocument(
        target=peer.label,
        address=str(address),
        latency=latency,
        path=info.kind if answered else "none",
        via=describe_info(info, means.region_name) if answered else "",
        error="" if answered else f"{question.target} did not answer within {question.seconds:g} s",
    )


def describe_info(info: PathInfo, region_name: Callable[[int], str]) -> str:
    """Say what a path leads over: an address, "address vni N" of a relay, a DERP region."""
    match info.kind:
        case "direct":
            return str(info.endpoint or "")
        case "relay":
            return f"{info.endpoint} vni {info.vni}"
        case "derp":
            return region_name(info.region)
        case "none":
            return ""


async def _answers(
    question: PingQuestion, peer: Node, address: IPAddress, means: Means
) -> tuple[PingResult, float | None]:
    """Return what path discovery answered and the latency of what came through the tunnel."""
    seconds, size = question.seconds, question.size
    match question.kind:
        case "disco":
            path = means.path_ping(peer.key, seconds, size)
            return await _both(path, ping_address(address, seconds))
        case "tsmp":
            return PingResult(None), await means.tsmp_ping(address, seconds)
        case "icmp":
            return PingResult(None), await ping_address(address, seconds, size=size)


async def _both(
    path: Awaitable[PingResult], echo: Awaitable[float | None]
) -> tuple[PingResult, float | None]:
    loop = asyncio.get_running_loop()
    by_path = loop.create_task(_await(path), name="path ping")
    by_echo = loop.create_task(_await(echo), name="echo")
    try:
        await asyncio.wait({by_path, by_echo}, return_when=asyncio.FIRST_COMPLETED)
        if not by_path.done() and by_echo.result() is not None:
            await asyncio.wait({by_path}, timeout=GRACE)
        elif not by_path.done():
            await asyncio.wait({by_path})
        result = by_path.result() if by_path.done() else PingResult(None)
        if result.latency is None:
            return result, await by_echo
        return result, None
    finally:
        by_path.cancel()
        by_echo.cancel()
        await asyncio.gather(by_path, by_echo, return_exceptions=True)


async def _await(work: Awaitable[T]) -> T:
    return await work


async def ping_address(
    address: IPAddress,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    *,
    size: int = 0,
) -> float | None:
    """Return the seconds until an echo came back; None without an answer or a way there.

    `size` is octets of the whole packet; the smallest is sent when it is less than that.
    """
    try:
        sock = _open(address.version)
    except OSError:
        return None  # neither ping sockets nor raw ones are allowed here
    with sock:
        try:
            sock.connect((str(address), 0))
            async with asyncio.timeout(seconds):
                return await _ask(sock, address.version, clock, size)
        except (OSError, TimeoutError):
            return None


def _open(version: int) -> socket.socket:
    """Open a ping socket, or a raw one where groups are not allowed to ping."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004  # version of IP
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6  # noqa: PLR2004
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    sock.setblocking(False)
    return sock


async def _ask(sock: socket.socket, version: int, clock: Callable[[], float], size: int) -> float:
    loop = asyncio.get_running_loop()
    # Ping sockets choose the identifier themselves, so the payload says that it is ours.
    cookie = secrets.token_bytes(max(_COOKIE, size - _HEADERS[version]))
    sequence = 0
    while True:
        sequence += 1
        began = clock()
        await loop.sock_sendall(sock, write_request(Echo(False, 1, sequence, cookie), version))
        try:
            async with asyncio.timeout(AGAIN):
                while not _is_answer(await loop.sock_recv(sock, _LONGEST), version, cookie):
                    pass
                return clock() - began
        except TimeoutError:
            continue


def _is_answer(packet: bytes, version: int, cookie: bytes) -> bool:
    if version == 4 and packet[:1] and packet[0] >> 4 == 4:  # noqa: PLR2004  # a raw socket shows the IPv4 header
        packet = packet[(packet[0] & 15) * 4 :]
    try:
        echo = read_echo(packet, version)
    except WireError:
        return False
    return echo.is_reply and echo.payload == cookie
