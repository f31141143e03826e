"""The service: its sockets in the LAN and towards other sites."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from gatepost.api import IPAddress, ServiceContext
from gatepost.errors import WireError
from gatepost.sessions.reflector import SEARCH_TIME, Place, Reflector
from gatepost.wire.reflected import (
    LONGEST,
    PORT,
    Kind,
    Reflected,
    kind_of_ssdp,
    write_reflected,
)

log = logging.getLogger(__name__)

MDNS_V4, MDNS_V6, MDNS_PORT = "224.0.0.251", "ff02::fb", 5353
SSDP_V4, SSDP_PORT = "239.255.255.250", 1900
MDNS_HOPS, SSDP_HOPS = 255, 2  # RFC 6762 section 11; UPnP Device Architecture 2.0, 1.3
BATCH = 32  # datagrams read before others have their turn
MOST_SEARCHES = 32  # of other sites, at the same time
_IP_MULTICAST_ALL = 49  # Linux: in.h; else a socket hears the groups of all others


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Devices of the LAN, addresses of the other sites' boxes, and of who may be heard here."""

    links: tuple[str, ...]
    sites: tuple[IPAddress, ...]
    allowed: frozenset[IPAddress]

    def __str__(self) -> str:
        sites = ", ".join(map(str, self.sites)) or "nobody"
        return f"{', '.join(self.links)} to {sites}, {len(self.allowed)} addresses heard"


async def reflect(context: ServiceContext, parameters: Parameters) -> None:
    """Reflect until cancelled; raise `OSError` that names a device."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        towards = {
            int(held.family): held
            for held in (stack.enter_context(_adopt(number)) for number in context.sockets())
        }
        box = _Box(parameters, Reflector(parameters.allowed, loop.time()), towards, stack)
        for link in parameters.links:
            for kind in (Kind.MDNS_V4, Kind.MDNS_V6, Kind.SSDP_NEWS):
                box.listen(link, kind)
        for held in towards.values():
            box.watch(held, box.on_mesh)
        await loop.create_future()


def _adopt(number: int) -> socket.socket:
    return socket.socket(fileno=socket.dup(number))


@dataclass(slots=True)
class _Box:
    parameters: Parameters
    reflector: Reflector
    towards: dict[int, socket.socket]  # by family: bound to our addresses in the mesh
    stack: contextlib.ExitStack
    _groups: dict[tuple[str, Kind], socket.socket] = field(
        default_factory=dict[tuple[str, Kind], socket.socket]
    )
    _searches: set[contextlib.ExitStack] = field(default_factory=set[contextlib.ExitStack])

    def __post_init__(self) -> None:
        self.stack.callback(self._end_searches)

    def listen(self, link: str, kind: Kind) -> None:
        try:
            held = self.stack.enter_context(_group_socket(link, kind))
        except OSError as error:
            raise OSError(error.errno, f"{kind.name} on {link}: {error.strerror}") from error
        self._groups[link, kind] = held
        self.watch(held, lambda raw, sender: self.on_lan(link, kind, raw, sender))

    def watch(self, held: socket.socket, hear: Callable[[bytes, tuple[str, int]], None]) -> None:
        """Call `hear` with each datagram and its sender until the service ends."""
        loop = asyncio.get_running_loop()
        loop.add_reader(held, _read, held, hear)
        self.stack.callback(loop.remove_reader, held)

    def on_lan(self, link: str, kind: Kind, raw: bytes, sender: tuple[str, int]) -> None:
        now = asyncio.get_running_loop().time()
        try:
            exact = kind_of_ssdp(raw) if kind is Kind.SSDP_NEWS else kind
            found = self.reflector.from_lan(exact, raw, (link, sender), now)
        except WireError as error:
            log.debug("%s: %s: %s", link, sender[0], error)
            return
        if found is not None:
            for site in self.parameters.sites:
                self._tell(found, site)

    def on_mesh(self, raw: bytes, sender: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        address = ip_address(sender[0])
        try:
            found = self.reflector.from_mesh(address, raw, loop.time())
        except WireError as error:
            log.debug("%s: %s", sender[0], error)
            return
        match found:
            case None:
                return
            case Reflected(Kind.SSDP_ANSWER, datagram, number):
                self._answer(self.reflector.searcher(number, loop.time()), datagram)
            case Reflected(Kind.SSDP_SEARCH):
                self._search(found, address)
            case Reflected(kind, datagram):
                for link in self.parameters.links:
                    _send(self._groups[link, kind], datagram, _place_of(kind))

    def _tell(self, found: Reflected, site: IPAddress) -> None:
        family = socket.AF_INET if site.version == 4 else socket.AF_INET6  # noqa: PLR2004  # the version of IP
        if held := self.towards.get(family):
            _send(held, write_reflected(found), (str(site), PORT))

    def _answer(self, place: Place | None, datagram: bytes) -> None:
        if place is not None:
            link, host = place
            _send(self._groups[link, Kind.SSDP_NEWS], datagram, host)

    def _search(self, found: Reflected, site: IPAddress) -> None:
        """Search in the LAN from a port of its own, where the answers come for a while."""
        for link in self.parameters.links:
            if len(self._searches) >= MOST_SEARCHES:
                return
            end = contextlib.ExitStack()
            try:
                held = end.enter_context(_search_socket(link))
            except OSError as error:  # it has just gone
                log.debug("searching on %s: %s", link, error)
                continue
            loop = asyncio.get_running_loop()
            loop.add_reader(held, _read, held, self._on_answer(found.number, site))
            end.callback(loop.remove_reader, held)
            timer = loop.call_later(SEARCH_TIME, self._end_search, end)
            end.callback(timer.cancel)
            self._searches.add(end)
            _send(held, found.datagram, (SSDP_V4, SSDP_PORT))

    def _on_answer(self, number: int, site: IPAddress) -> Callable[[bytes, tuple[str, int]], None]:
        def hear(raw: bytes, _sender: tuple[str, int]) -> None:
            self._tell(Reflected(Kind.SSDP_ANSWER, raw, number), site)

        return hear

    def _end_search(self, end: contextlib.ExitStack) -> None:
        self._searches.discard(end)
        end.close()

    def _end_searches(self) -> None:
        for end in tuple(self._searches):
            self._end_search(end)


def _read(held: socket.socket, hear: Callable[[bytes, tuple[str, int]], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        for _ in range(BATCH):
            try:
                raw, sender = held.recvfrom(LONGEST + 16)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error about what was sent before
                log.debug("receiving: %s", error)
                return
            hear(raw, (str(sender[0]).partition("%")[0], int(sender[1])))


def _send(held: socket.socket, datagram: bytes, to: tuple[str, int]) -> None:
    try:
        held.sendto(datagram, to)
    except OSError as error:  # the link is down, or the tunnel has just gone
        log.debug("to %s: %s", to[0], error)


def _place_of(kind: Kind) -> tuple[str, int]:
    match kind:
        case Kind.MDNS_V4:
            return MDNS_V4, MDNS_PORT
        case Kind.MDNS_V6:
            return MDNS_V6, MDNS_PORT
        case _:
            return SSDP_V4, SSDP_PORT


def _group_socket(link: str, kind: Kind) -> socket.socket:
    """Return a socket of one device that hears a group and speaks to it; others may, too."""
    index = socket.if_nametoindex(link)
    group, port = _place_of(kind)
    is_v6 = kind is Kind.MDNS_V6
    held = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        held.setblocking(False)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            held.setsockopt(socket.SOL_SOCKET, option, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        if is_v6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, MDNS_HOPS)
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            member = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        else:
            _join_v4(held, group, index, MDNS_HOPS if port == MDNS_PORT else SSDP_HOPS)
        held.bind((group if port == SSDP_PORT else "", port))
    except OSError:
        held.close()
        raise
    return held


def _join_v4(held: socket.socket, group: str, index: int, hops: int) -> None:
    member = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)
    held.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
    held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
    held.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)


def _search_socket(link: str) -> socket.socket:
    """Return a socket of one device at a free port, where answers come; raise `OSError`."""
    index = struct.pack("@i", socket.if_nametoindex(link))
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, SSDP_HOPS)
        held.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + index)
    except OSError:
        held.close()
        raise
    return held
