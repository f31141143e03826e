"""Addresses that stand for places at peer relays, so that WireGuard itself can send there.

WireGuard sends to the stand-in; where the packet leaves, the program `wrap` of
`gatepost.bpf/relay_client.c` puts the relay's address and the Geneve header on it,
and `unwrap` takes them off what comes back. A stand-in is made of

    two entries in the program's maps   places: stand-in -> relay's address, port, VNI
                                        senders: the same -> stand-in, and whom
                                                          WireGuard shall see
    a route in a table of its own       by the next hop and from the address by which the
                                        relay itself is reached

The route is why nothing else has to know: the packet goes the way to the relay,
with the right source address, and the check of where packets may come from
(rp_filter) agrees. Programs on devices are resources like all others; `devices`
says on which they are wanted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from gatepost.linux import bpf, bpf_pins, rtnetlink, tc
from gatepost.linux.courses import (
    Course,
    find_course,
    route_along,
    route_removal,
    rtnetlink_address,
)
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink, RoutingMessage
from gatepost.linux.netlink_message import Request
from gatepost.linux.rtnetlink import Link
from gatepost.model.kernel import Rule, TrafficProgram
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.model.owned import (
    RELAY_NETWORK,
    RELAY_NETWORK_V6,
    RELAY_PORT,
    STAND_IN_PRIORITY,
    STAND_IN_PROGRAM_PRIORITY,
    STAND_IN_TABLE,
)
from gatepost.model.resource import Resource

log = logging.getLogger(__name__)

OBJECT = "relay_client"
_PLACE = struct.Struct("!16sHHI")
_SENDERS = struct.Struct("!16s16sHH")
_BATCHES = bytes(4)  # in the map `refused`: how many
_V4 = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class _Machine:
    """What is read once for all stand-ins: devices by index, and our programs on them."""

    links: Mapping[int, Link]
    attached: tuple[tc.Attached, ...]


@dataclass(slots=True)
class _StandIn:
    address: IPAddress
    server: Endpoint
    vni: int
    course: Course
    sender: Endpoint

    @property
    def place(self) -> bytes:
        return _PLACE.pack(_packed(self.server.address), self.server.port, 0, self.vni << 8)

    @property
    def entries(self) -> tuple[tuple[str, bytes, bytes], ...]:
        address = _packed(self.address)
        senders = _SENDERS.pack(address, _packed(self.sender.address), self.sender.port, 0)
        return ("places", address, self.place), ("senders", self.place, senders)


class StandIns:
    """All of one machine. `wish` is called when `devices` has grown; it may not wait."""

    def __init__(self, netlink: Netlink, wish: Callable[[], None]) -> None:
        self._netlink = netlink
        self._wish = wish
        self._lock = asyncio.Lock()
        self._stand_ins: dict[IPAddress, _StandIn] = {}
        self._maps: dict[str, bpf.BpfMap] = {}
        self.devices: frozenset[str] = frozenset()
        self.trouble = ""  # why there are no stand-ins on this machine, if there are none

    async def open(self, server: Endpoint, vni: int) -> Endpoint | None:
        """Return where WireGuard shall send to reach a place; None while there is no such way.

        That is while the programs are not on the device yet, where this machine
        has no BPF, or when the relay is this very machine. The same place gets the
        same stand-in again.
        """
        async with self._lock:
            try:
                return await self._open(server, vni, await self._look())
            except OSError as error:
                log.debug("no stand-in for %s, VNI %d: %s", server, vni, error)
                return None

    async def close(self, stand_in: Endpoint) -> None:
        """Take a stand-in away again."""
        async with self._lock:
            known = self._stand_ins.get(stand_in.address)
            if known is not None:
                await self._drop(known)

    def appear_as(self, stand_in: Endpoint, sender: Endpoint) -> None:
        """Let what comes by the relay reach WireGuard from `sender`.

        A loopback address or one of another version cannot stand in a packet
        from outside; then it is the stand-in itself.
        """
        known = self._stand_ins.get(stand_in.address)
        if known is None:
            return
        is_possible = sender.address.version == stand_in.address.version
        if not is_possible or sender.address.is_loopback:
            sender = stand_in
        if known.sender != sender:
            known.sender = sender
            try:
                self._put(known)
            except OSError as error:  # `check` tries again
                log.debug("sender of %s: %s", stand_in, error)

    async def check(self) -> frozenset[Endpoint]:
        """Set right what has changed: routes, and programs that were put on again.

        Return the stand-ins that do not work any more; they are closed.
        """
        async with self._lock:
            self._look_for_batches()
            broken = set[Endpoint]()
            try:
                machine = await self._look()
            except OSError as error:
                log.debug("stand-ins: %s", error)
                return frozenset()  # nothing is known, so nothing is said
            for known in tuple(self._stand_ins.values()):
                try:
                    if await self._open(known.server, known.vni, machine) is not None:
                        continue
                except OSError as error:
                    log.debug("stand-in for %s: %s", known.server, error)
                broken.add(Endpoint(known.address, RELAY_PORT))
                await self._drop(known)  # a later `open` starts from nothing
            return frozenset(broken)

    async def start(self) -> None:
        """Look whether this kernel can do it, and where it does since an earlier start."""
        self.trouble = bpf.why_unusable()
        if self.trouble:
            return
        try:
            attached = await tc.read_attached(self._netlink)
            links = await all_links(self._netlink)
        except OSError as error:
            log.debug("programs on devices: %s", error)
            return
        ours = {a.index for a in attached if a.object == OBJECT}
        self.devices |= {links[i].name for i in ours if i in links}

    def resources(self, there: Collection[str]) -> tuple[Resource, ...]:
        """Return what should be on this machine for stand-ins to work; `there` are its devices."""
        devices = self.devices.intersection(there)
        if not devices:
            return ()
        rules = [
            Rule(
                family=family,
                priority=STAND_IN_PRIORITY,
                table=STAND_IN_TABLE,
                destination=RELAY_NETWORK if family == 4 else RELAY_NETWORK_V6,  # noqa: PLR2004  # the version of IP
            )
            for family in (4, 6)
        ]
        programs = [p for device in sorted(devices) for p in _programs(device)]
        return (*rules, *programs)

    # --- how ---------------------------------------------------------------------------

    async def _look(self) -> _Machine:
        attached = [a for a in await tc.read_attached(self._netlink) if a.object == OBJECT]
        return _Machine(await all_links(self._netlink), tuple(attached))

    async def _open(self, server: Endpoint, vni: int, machine: _Machine) -> Endpoint | None:
        if self.trouble:
            return None
        course = await find_course(self._netlink, server.address, machine.links)
        if course is None:
            return None
        if course.link.name not in self.devices:
            self.devices |= {course.link.name}
            self._wish()
        if not await self._use_maps(course.link.index, machine.attached):
            return None
        stand_in = self._find(server, vni, course)
        if stand_in.address not in self._stand_ins or stand_in.course != course:
            stand_in.course = course
            await self._netlink.write([_route(stand_in)])
            self._stand_ins[stand_in.address] = stand_in
        self._put(stand_in)
        return Endpoint(stand_in.address, RELAY_PORT)

    def _find(self, server: Endpoint, vni: int, course: Course) -> _StandIn:
        """Return the stand-in of a place; a new one's address is made of the place."""
        seed = _packed(server.address) + struct.pack("!HI", server.port, vni)
        number = int.from_bytes(hashlib.blake2s(seed, digest_size=4).digest(), "big")
        while True:
            address = _address(server.address.version, number)
            known = self._stand_ins.get(address)
            if known is None:
                return _StandIn(address, server, vni, course, Endpoint(address, RELAY_PORT))
            if (known.server, known.vni) == (server, vni):
                return known
            number += 1

    async def _drop(self, gone: _StandIn) -> None:
        """Forget a stand-in; what is in the kernel for it goes as far as it is there."""
        del self._stand_ins[gone.address]
        for name, key, _ in gone.entries:
            try:
                if name in self._maps:
                    self._maps[name].drop(key)
            except OSError as error:
                log.debug("entry of %s: %s", gone.address, error)
        try:
            await self._netlink.write([_removal(gone.address)])
        except OSError as error:  # the device is gone, and the route with it
            log.debug("route of %s: %s", gone.address, error)

    async def _use_maps(self, index: int, attached: tuple[tc.Attached, ...]) -> bool:
        """Find the maps of the programs on a device; say whether both directions have them.

        Programs that were taken off and put on again may have other maps: they are
        filled. What an earlier daemon left in the maps and the table of routes goes.
        """
        here = [a for a in attached if a.index == index]
        if {a.direction for a in here} != {"in", "out"}:
            return False
        maps = bpf_pins.find_all_maps((a.program_id for a in here), OBJECT)
        if not {"places", "senders"} <= maps.keys():  # somebody removed their pins
            _close(maps)
            return False
        same = {n: m.identity for n, m in maps.items()} == {
            n: m.identity for n, m in self._maps.items()
        }
        if same:
            _close(maps)
            return True
        _close(self._maps)
        self._maps = maps
        for name in ("places", "senders"):
            maps[name].drop_all(maps[name].items())
        for known in self._stand_ins.values():
            self._put(known)
        await self._netlink.write(await self._strange_routes())
        return True

    async def _strange_routes(self) -> list[Request]:
        """Return what takes away the routes in our table that are of no stand-in."""
        found: list[Request] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                messages = await self._netlink.ask(rtnetlink.get_routes(family, STAND_IN_TABLE))
            except FileNotFoundError:
                continue  # nobody ever put a route into this table
            for message in messages:
                address = rtnetlink_address(RoutingMessage(message).text("RTA_DST"))
                if address is not None and address not in self._stand_ins:
                    found.append(_removal(address))
        return found

    def _look_for_batches(self) -> None:
        """Give up where WireGuard sends batches (UDP_SEGMENT), whose packets cannot be wrapped."""
        refused = self._maps["refused"].get(_BATCHES) if "refused" in self._maps else None
        if refused is not None and any(refused):
            self.trouble = "this WireGuard sends batches, which cannot be wrapped"

    def _put(self, stand_in: _StandIn) -> None:
        for name, key, value in stand_in.entries:
            if name in self._maps and self._maps[name].get(key) != value:
                self._maps[name].put(key, value)


def _programs(device: str) -> tuple[TrafficProgram, ...]:
    return (
        TrafficProgram(
            device=device,
            direction="out",
            priority=STAND_IN_PROGRAM_PRIORITY,
            object=OBJECT,
            program="wrap",
            bare="wrap_bare",
        ),
        TrafficProgram(
            device=device,
            direction="in",
            priority=STAND_IN_PROGRAM_PRIORITY,
            object=OBJECT,
            program="unwrap",
            bare="unwrap_bare",
        ),
    )


def _route(stand_in: _StandIn) -> Request:
    address = stand_in.address
    return route_along(address, stand_in.course, STAND_IN_TABLE, f"route of {address}")


def _removal(address: IPAddress) -> Request:
    return route_removal(address, STAND_IN_TABLE, f"route of {address}")


def _address(version: int, number: int) -> IPAddress:
    network = RELAY_NETWORK if version == 4 else RELAY_NETWORK_V6  # noqa: PLR2004  # the version of IP
    return network[1 + number % (RELAY_NETWORK.num_addresses - 2)]


def _packed(address: IPAddress) -> bytes:
    return address.packed if isinstance(address, IPv6Address) else _V4 + address.packed


def _close(maps: dict[str, bpf.BpfMap]) -> None:
    for each in maps.values():
        each.close()
