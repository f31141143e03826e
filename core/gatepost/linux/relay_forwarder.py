"""The kernel's table of relayed flows: the maps of the program `bpf/peer_relay.c`.

The program finds a flow by the packet's addresses, port and VNI; what it finds says where
the packet goes, by which device and how long it may be. Numbers and addresses are in
network order, except device, length and counters:

    sessions4   key    from 4 | to 4 | VNI 4 (24 bits, then a zero byte) | port 2 | 0 2
                value  from 4 | to 4 | device u32 | port 2 | longest u16 | packets, bytes u64
    sessions6   the same with addresses of 16 bytes
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from gatepost.linux import bpf, rtnetlink
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink, RoutingMessage, RoutingType, routing_request
from gatepost.linux.netlink_message import Request
from gatepost.linux.tc import open_maps
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import MARK
from gatepost.net.relay_ports import Count
from gatepost.sessions.relay_server import Flow, Onward

OBJECT = "peer_relay"
_MAPS = {4: "sessions4", 6: "sessions6"}
_KEYS = {4: struct.Struct("=4s4s4s2s2x"), 6: struct.Struct("=16s16s4s2s2x")}
_WAYS = {4: struct.Struct("=4s4sI2sHQQ"), 6: struct.Struct("=16s16sI2sHQQ")}
_UNICAST = 1
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENODEV})
_LONGEST = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Device:
    index: int
    mtu: int  # bytes of an IP packet


class KernelForwarder:
    """Finds the program on whatever device has it. `close` it; flows stay in the kernel."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._maps: dict[str, bpf.BpfMap] = {}
        self.trouble = "the kernel's program is not on any device yet"

    async def look(self) -> bool:
        maps = await open_maps(self._netlink, OBJECT)
        same = _identities(maps) == _identities(self._maps)
        if same:
            _close(maps)
            return False
        _close(self._maps)
        self._maps = maps
        self.trouble = "" if maps else "the kernel's program is not on any device"
        return True

    async def put(self, flows: Mapping[Flow, Onward]) -> None:
        """Write flows; 20,000 take 0.1 s, so not in the event loop."""
        mtus = {n: link.mtu for n, link in (await all_links(self._netlink)).items()}
        devices = dict[Onward, _Device | None]()
        found: dict[str, dict[bytes, bytes]] = {name: {} for name in _MAPS.values()}
        gone = list[Flow]()
        for flow, onward in flows.items():
            device = None
            if flow.here.version == onward.to.address.version:
                if onward not in devices:
                    devices[onward] = await self._device(onward, mtus)
                device = devices[onward]
            if device is None:
                gone.append(flow)  # user space carries it, or nobody can
            else:
                found[_MAPS[flow.here.version]][_key(flow)] = _way(onward, device)
        await self._netlink.run(lambda: self._write(found))
        await self.drop(gone)

    async def drop(self, flows: Collection[Flow]) -> None:
        if flows:
            await self._netlink.run(lambda: self._remove(flows))

    async def counts(self) -> Mapping[Flow, Count]:
        """Return every flow in the table; 20,000 take 0.1 s, so not in the event loop."""
        return await self._netlink.run(lambda: dict(self._read()))

    async def close(self) -> None:
        """Let go of the table, after what the thread still does with it."""
        maps, self._maps = self._maps, {}
        await self._netlink.run(lambda: _close(maps))

    def _write(self, found: Mapping[str, Mapping[bytes, bytes]]) -> None:
        for name, entries in found.items():
            if name in self._maps and entries:
                self._maps[name].update(entries)

    def _remove(self, flows: Collection[Flow]) -> None:
        for flow in flows:
            if (one := self._maps.get(_MAPS[flow.here.version])) is not None:
                one.drop(_key(flow))

    def _read(self) -> Iterator[tuple[Flow, Count]]:
        for version, name in _MAPS.items():
            if name in self._maps:
                for key, value in self._maps[name].items().items():
                    source, here, vni, port = _KEYS[version].unpack(key)
                    packets, octets = _WAYS[version].unpack(value)[-2:]
                    flow = Flow(
                        Endpoint(ip_address(source), int.from_bytes(port, "big")),
                        ip_address(here),
                        int.from_bytes(vni[:3], "big"),
                    )
                    yield flow, Count(packets, octets)

    async def _device(self, onward: Onward, mtus: Mapping[int, int]) -> _Device | None:
        """Return the way out to a client; None when there is none, or when it is this machine."""
        try:
            messages = await self._netlink.ask(_get_route(onward))
        except OSError as error:
            if error.errno in _NO_WAY:
                return None
            raise
        route = RoutingMessage(messages[0])
        index = route.number("RTA_OIF")
        if route.field("type") != _UNICAST or index is None:
            return None
        return _Device(index, min(mtus.get(index, 0), _LONGEST))


def _get_route(onward: Onward) -> Request:
    """Ask where a packet of ours from that address would go."""
    to = onward.to.address
    lengths = {"dst_len": to.max_prefixlen, "src_len": to.max_prefixlen}
    return routing_request(
        RoutingType.GET_ROUTE,
        0,
        {"family": rtnetlink.family_of(to.version), **lengths},
        [("RTA_DST", str(to)), ("RTA_SRC", str(onward.here)), ("RTA_MARK", MARK)],
        about=f"route to {to}",
    )


def _key(flow: Flow) -> bytes:
    source = flow.source
    return _KEYS[flow.here.version].pack(
        source.address.packed,
        flow.here.packed,
        flow.vni.to_bytes(3, "big"),
        source.port.to_bytes(2, "big"),
    )


def _way(onward: Onward, device: _Device) -> bytes:
    return _WAYS[onward.here.version].pack(
        onward.here.packed,
        onward.to.address.packed,
        device.index,
        onward.to.port.to_bytes(2, "big"),
        device.mtu,
        0,
        0,
    )


def _identities(maps: Mapping[str, bpf.BpfMap]) -> dict[str, int]:
    return {name: one.identity for name, one in maps.items()}


def _close(maps: Mapping[str, bpf.BpfMap]) -> None:
    for one in maps.values():
        one.close()
