"""The kernel's routing messages: links, addresses, routes, rules. Bytes and values, no sockets.

Every body starts with a fixed header (include/uapi/linux/{rtnetlink,if_link,if_addr,fib_rules}.h),
then attributes:

    link     family u8 | 0 u8 | hardware type u16 | index i32 | flags u32 | changed flags u32
    address  family u8 | prefix length u8 | flags u8 | scope u8 | link index u32
    route    family u8 | destination length u8 | source length u8 | tos u8
             | table u8 | protocol u8 | scope u8 | type u8 | flags u32
    rule     family u8 | destination length u8 | source length u8 | tos u8
             | table u8 | 0 u8 | 0 u8 | action u8 | flags u32

Tables over 255 stand in an attribute; 0 in the header then.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from gatepost.linux.netlink_message import (
    CREATE,
    DUMP,
    EXCLUSIVE,
    REPLACE,
    Request,
    attribute,
    nested,
    read_attributes,
    read_integer,
    read_text,
    text,
    u32,
)
from gatepost.model.kernel import Address, Route, Rule
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.owned import ROUTE_PROTOCOL

LINK, ADDRESS, ROUTE, RULE = (struct.Struct(f) for f in ("=BxHiII", "=BBBBI", "=8BI", "=8BI"))

NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DELETE_RULE, GET_RULE = 32, 33, 34

IFF_UP, IFF_LOOPBACK = 0x1, 0x8
IFLA_NAME, IFLA_MTU, IFLA_INFO, IFLA_AF_SPEC, IFLA_EXT_MASK = 3, 4, 18, 26, 29
INFO_KIND = 1
INET6_ADDR_GEN_MODE, ADDR_GEN_NONE = 8, 1
SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_PROTOCOL = 1, 2, 8, 11
NO_DAD, NO_PREFIX_ROUTE = 0x02, 0x200
TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x01, 0x08, 0x20, 0x40

RTA_DESTINATION, RTA_DEVICE, RTA_GATEWAY, RTA_SOURCE = 1, 4, 5, 7
RTA_MULTIPATH, RTA_TABLE, RTA_MARK = 9, 15, 16
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_NOWHERE = 0, 253, 255
TABLE_MAIN = 254

FRA_PRIORITY, FRA_MARK, FRA_TABLE, FRA_MASK, FRA_PROTOCOL = 6, 10, 15, 16, 21
ACTION_TABLE = 1
_ALL_BITS = 0xFFFFFFFF
RULE_INVERT = 2  # flag: packets to which the rest does not apply
# Selectors that our rules never have: destination, source, in and out interface, ….
_FOREIGN_SELECTORS = frozenset({1, 2, 3, 4, 12, 17, 19, 20, 22, 23, 24})

Kind = Literal["unicast", "blackhole", "throw"]
_KINDS: dict[Kind, int] = {"unicast": 1, "blackhole": 6, "throw": 9}
_KIND_NAMES: dict[int, Kind] = {number: name for name, number in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `kind` is what made it ("wireguard", "tun", …), "" for hardware."""

    index: int
    name: str
    kind: str
    mtu: int  # octets
    flags: int

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def is_loopback(self) -> bool:
        return bool(self.flags & IFF_LOOPBACK)


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address as the kernel holds it, with the prefix of the network it is in."""

    index: int  # of the link
    address: IPAddress
    length: int  # of the prefix
    scope: int
    flags: int


def family_of(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004  # 4 or 6


def read_address(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)  # noqa: PLR2004


# --- links ---------------------------------------------------------------------


def get_links() -> Request:
    body = LINK.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, SKIP_STATISTICS)
    return Request(GET_LINK, DUMP, body, "list links")


def get_link(name: str) -> Request:
    """Ask for one link; the kernel answers `ENODEV` when there is none."""
    return Request(GET_LINK, 0, LINK.pack(0, 0, 0, 0, 0) + text(IFLA_NAME, name), name)


def read_link(body: bytes) -> Link:
    _, _, index, flags, _ = LINK.unpack_from(body)
    name, kind, mtu = "", "", 0
    for key, payload in read_attributes(body, LINK.size):
        if key == IFLA_NAME:
            name = read_text(payload)
        elif key == IFLA_MTU:
            mtu = read_integer(payload)
        elif key == IFLA_INFO:
            kind = next((read_text(p) for k, p in read_attributes(payload) if k == INFO_KIND), "")
    return Link(index, name, kind, mtu, flags)


def add_link(name: str, kind: str) -> Request:
    body = LINK.pack(0, 0, 0, 0, 0) + text(IFLA_NAME, name)
    body += nested(IFLA_INFO, [text(INFO_KIND, kind)])
    return Request(NEW_LINK, CREATE | EXCLUSIVE, body, f"add {kind} device {name}")


def delete_link(index: int, name: str) -> Request:
    return Request(DELETE_LINK, 0, LINK.pack(0, 0, index, 0, 0), f"delete device {name}")


def set_mtu(link: Link, mtu: int) -> Request:
    body = LINK.pack(0, 0, link.index, 0, 0) + u32(IFLA_MTU, mtu)
    return Request(SET_LINK, 0, body, f"MTU {mtu} of {link.name}")


def set_up(link: Link) -> Request:
    body = LINK.pack(0, 0, link.index, IFF_UP, IFF_UP)
    return Request(SET_LINK, 0, body, f"bring {link.name} up")


def refuse_link_local(link: Link) -> Request:
    """Keep the kernel from inventing an fe80:: address; neighbours do not exist in a tunnel."""
    mode = attribute(INET6_ADDR_GEN_MODE, bytes((ADDR_GEN_NONE,)))
    family = nested(IFLA_AF_SPEC, [nested(socket.AF_INET6, [mode])])
    body = LINK.pack(0, 0, link.index, 0, 0) + family
    return Request(SET_LINK, 0, body, f"no link-local address on {link.name}")


# --- addresses -----------------------------------------------------------------


def get_addresses(index: int = 0) -> Request:
    """Ask for all addresses, or for those of one link."""
    return Request(GET_ADDRESS, DUMP, ADDRESS.pack(0, 0, 0, 0, index), "list addresses")


def read_interface_address(body: bytes) -> InterfaceAddress | None:
    """Return None for a family that is neither IPv4 nor IPv6."""
    family, length, flags, scope, index = ADDRESS.unpack_from(body)
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    found: dict[int, bytes] = dict(read_attributes(body, ADDRESS.size))
    packed = found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b""))
    if IFA_FLAGS in found:
        flags = read_integer(found[IFA_FLAGS])
    return InterfaceAddress(index, read_address(packed), length, scope, flags)


def write_address(address: Address, index: int, *, new: bool) -> Request:
    """Add (or take away) a host address; its route is not made, a host needs none."""
    packed = address.address.packed
    family = family_of(address.address.version)
    body = ADDRESS.pack(family, 8 * len(packed), 0, SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if not new:
        return Request(DELETE_ADDRESS, 0, body, address)
    body += u32(IFA_FLAGS, NO_DAD | NO_PREFIX_ROUTE)
    return Request(NEW_ADDRESS, CREATE | REPLACE, body, address)


# --- routes --------------------------------------------------------------------


def get_routes(family: int, table: int) -> Request:
    """Ask for our routes of one table; the kernel filters (it answers `ENOENT` for no table)."""
    body = ROUTE.pack(family, 0, 0, 0, 0, ROUTE_PROTOCOL, 0, 0, 0) + u32(RTA_TABLE, table)
    return Request(GET_ROUTE, DUMP, body, f"list routes of table {table}")


def get_route_to(destination: IPAddress, mark: int) -> Request:
    """Ask where a packet with `mark` to `destination` would go; an error means nowhere."""
    packed = destination.packed
    body = ROUTE.pack(family_of(destination.version), 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += attribute(RTA_DESTINATION, packed) + u32(RTA_MARK, mark)
    return Request(GET_ROUTE, 0, body, f"route to {destination}")


def read_route(body: bytes, names: Mapping[int, str]) -> Route | None:
    """Read one of our routes; `names` are the links by index. None for what is not ours."""
    family, length, _, _, table, protocol, _, kind, _ = ROUTE.unpack_from(body)
    if protocol != ROUTE_PROTOCOL or kind not in _KIND_NAMES:
        return None
    packed, source, device, odd = b"", None, None, False
    for key, payload in read_attributes(body, ROUTE.size):
        if key == RTA_DESTINATION:
            packed = payload
        elif key == RTA_DEVICE:
            device = names.get(read_integer(payload), "?")
        elif key == RTA_SOURCE:
            source = read_address(payload)
        elif key == RTA_TABLE:
            table = read_integer(payload)
        elif key in {RTA_GATEWAY, RTA_MULTIPATH}:
            odd = True  # somebody changed it: not the route that anybody asked for
    if kind != _KINDS["unicast"] or odd:
        device = None
    return Route(table, _network(family, packed, length), device, _KIND_NAMES[kind], source)


def _network(family: int, packed: bytes, length: int) -> IPNetwork:
    if family == socket.AF_INET:
        return IPv4Network((packed or bytes(4), length))
    return IPv6Network((packed or bytes(16), length))


def write_route(route: Route, index: int, *, new: bool) -> Request:
    """Add or replace (or take away) a route; `index` is its link, 0 for none."""
    destination = route.destination
    scope = SCOPE_NOWHERE if not new else SCOPE_LINK if index else SCOPE_UNIVERSE
    if new and destination.version == 6:  # noqa: PLR2004  # IPv6 routes have no scope
        scope = SCOPE_UNIVERSE
    body = ROUTE.pack(
        family_of(destination.version),
        destination.prefixlen,
        0,
        0,
        route.table if route.table < 256 else 0,  # noqa: PLR2004  # eight bits
        ROUTE_PROTOCOL,
        scope,
        _KINDS[route.kind],
        0,
    )
    body += attribute(RTA_DESTINATION, destination.network_address.packed)
    body += u32(RTA_TABLE, route.table)
    if index:
        body += u32(RTA_DEVICE, index)
    if route.source is not None and new:
        body += attribute(RTA_SOURCE, route.source.packed)
    if new:
        return Request(NEW_ROUTE, CREATE | REPLACE, body, route)
    return Request(DELETE_ROUTE, 0, body, route)


# --- rules ---------------------------------------------------------------------


def get_rules(family: int) -> Request:
    return Request(GET_RULE, DUMP, RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list rules")


def read_rule(body: bytes) -> Rule | None:
    """Read one of our rules; None for everybody else's and for what we never write."""
    family, _, _, _, table, _, _, action, flags = RULE.unpack_from(body)
    found: dict[int, bytes] = dict(read_attributes(body, RULE.size))
    if found.get(FRA_PROTOCOL) != bytes((ROUTE_PROTOCOL,)) or FRA_PRIORITY not in found:
        return None
    if FRA_TABLE in found:
        table = read_integer(found[FRA_TABLE])
    if action != ACTION_TABLE or found.keys() & _FOREIGN_SELECTORS:
        table = 0  # ours by its mark, but bent by somebody: equal to no rule that is wanted
    mark = read_integer(found[FRA_MARK]) if FRA_MARK in found else None
    mask = read_integer(found[FRA_MASK]) if FRA_MASK in found and mark is not None else None
    if mask == _ALL_BITS:
        mask = None
    return Rule(
        family=4 if family == socket.AF_INET else 6,
        priority=read_integer(found[FRA_PRIORITY]),
        table=table,
        mark=mark,
        mask=mask,
        invert=bool(flags & RULE_INVERT),
    )


def add_rule(rule: Rule) -> Request:
    table = rule.table if rule.table < 256 else 0  # noqa: PLR2004  # eight bits
    flags = RULE_INVERT if rule.invert else 0
    body = RULE.pack(family_of(rule.family), 0, 0, 0, table, 0, 0, ACTION_TABLE, flags)
    body += u32(FRA_PRIORITY, rule.priority) + u32(FRA_TABLE, rule.table)
    body += attribute(FRA_PROTOCOL, bytes((ROUTE_PROTOCOL,)))
    if rule.mark is not None:
        body += u32(FRA_MARK, rule.mark)
        body += u32(FRA_MASK, _ALL_BITS if rule.mask is None else rule.mask)
    return Request(NEW_RULE, CREATE | EXCLUSIVE, body, rule)


def delete_rule(body: bytes, about: object) -> Request:
    """Take away exactly the rule that the kernel described with `body`."""
    return Request(DELETE_RULE, 0, body, about)
