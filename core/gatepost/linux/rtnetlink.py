"""Links, addresses, routes and rules: our nouns to the messages of pyroute2 and back. No sockets.

The names of fields and attributes are the kernel's (include/uapi/linux/{rtnetlink,if_link,
if_addr,fib_rules}.h), as pyroute2 has them. Tables over 255 stand in an attribute; 0 in
the header's field then.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from gatepost.linux.netlink import RoutingMessage, RoutingType, routing_request
from gatepost.linux.netlink_message import CREATE, DUMP, EXCLUSIVE, REPLACE, Message, Request
from gatepost.model.kernel import Address, Route, Rule
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.owned import ROUTE_PROTOCOL

IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
ADDR_GEN_NONE = 1
SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS

NO_DAD, NO_PREFIX_ROUTE = 0x02, 0x200
DAD_FAILED, DEPRECATED, TENTATIVE = 0x08, 0x20, 0x40

SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_NOWHERE = 0, 253, 255

ACTION_TABLE = 1
LOOPBACK = "lo"  # as a rule's incoming device: what this machine itself sends
_ALL_BITS = 0xFFFFFFFF
RULE_INVERT = 2  # flag: packets to which the rest does not apply
# Selectors that our rules never have.
_FOREIGN_SELECTORS = frozenset(
    f"FRA_{name}"
    for name in (
        *("GOTO", "TUN_ID", "L3MDEV", "UID_RANGE"),
        *("IP_PROTO", "SPORT_RANGE", "DPORT_RANGE"),
    )
)

Kind = Literal["unicast", "blackhole", "unreachable", "throw"]
_KINDS: dict[Kind, int] = {"unicast": 1, "blackhole": 6, "unreachable": 7, "throw": 9}
_KIND_NAMES: dict[int, Kind] = {number: name for name, number in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `kind` is what made it ("wireguard", "tun", …), "" for hardware."""

    index: int
    name: str
    kind: str
    mtu: int  # octets
    flags: int
    hardware: int = 1  # ARPHRD_…: 1 is Ethernet

    @property
    def has_ethernet(self) -> bool:
        """Say whether packets begin with an Ethernet header (loopback's do, too)."""
        return self.hardware in {1, 772}

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def is_plugged(self) -> bool:
        """Say whether it is up and its cable is plugged in, or it is of a kind without a cable."""
        return self.is_up and bool(self.flags & IFF_RUNNING)

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
    less = [("IFLA_EXT_MASK", SKIP_STATISTICS)]
    return routing_request(RoutingType.GET_LINK, DUMP, {}, less, about="list links")


def get_link(name: str) -> Request:
    """Ask for one link; the kernel answers `ENODEV` when there is none."""
    return routing_request(RoutingType.GET_LINK, 0, {}, [("IFLA_IFNAME", name)], about=name)


def read_link(message: Message) -> Link:
    link = RoutingMessage(message)
    return Link(
        index=link.field("index"),
        name=link.text("IFLA_IFNAME") or "",
        kind=link.nested_text("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        mtu=link.number("IFLA_MTU") or 0,
        flags=link.field("flags"),
        hardware=link.field("ifi_type"),
    )


def add_link(name: str, kind: str) -> Request:
    made_by = {"attrs": [("IFLA_INFO_KIND", kind)]}
    return routing_request(
        RoutingType.NEW_LINK,
        CREATE | EXCLUSIVE,
        {},
        [("IFLA_IFNAME", name), ("IFLA_LINKINFO", made_by)],
        about=f"add {kind} device {name}",
    )


def delete_link(index: int, name: str) -> Request:
    return routing_request(
        RoutingType.DELETE_LINK, 0, {"index": index}, about=f"delete device {name}"
    )


def set_mtu(link: Link, mtu: int) -> Request:
    return _set_link(link, [("IFLA_MTU", mtu)], f"MTU {mtu} of {link.name}")


def set_up(link: Link) -> Request:
    fields = {"index": link.index, "flags": IFF_UP, "change": IFF_UP}
    return routing_request(RoutingType.SET_LINK, 0, fields, about=f"bring {link.name} up")


def refuse_link_local(link: Link) -> Request:
    """Keep the kernel from inventing an fe80:: address; neighbours do not exist in a tunnel."""
    mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_NONE)]}
    families = {"attrs": [("AF_INET6", mode)]}
    return _set_link(link, [("IFLA_AF_SPEC", families)], f"no link-local address on {link.name}")


def _set_link(link: Link, attributes: list[tuple[str, object]], about: str) -> Request:
    return routing_request(RoutingType.SET_LINK, 0, {"index": link.index}, attributes, about=about)


# --- addresses -----------------------------------------------------------------


def get_addresses(index: int = 0) -> Request:
    """Ask for all addresses, or for those of one link."""
    return routing_request(RoutingType.GET_ADDRESS, DUMP, {"index": index}, about="list addresses")


def read_interface_address(message: Message) -> InterfaceAddress | None:
    """Return None for a family that is neither IPv4 nor IPv6."""
    held = RoutingMessage(message)
    # Of a point-to-point link IFA_ADDRESS is the far end; IPv6 has no IFA_LOCAL elsewhere.
    address = held.text("IFA_LOCAL") or held.text("IFA_ADDRESS")
    if held.field("family") not in {socket.AF_INET, socket.AF_INET6} or address is None:
        return None
    flags = held.number("IFA_FLAGS")
    return InterfaceAddress(
        index=held.field("index"),
        address=ip_address(address),
        length=held.field("prefixlen"),
        scope=held.field("scope"),
        flags=held.field("flags") if flags is None else flags,
    )


def write_address(address: Address, index: int, *, new: bool) -> Request:
    """Add (or take away) a host address; its route is not made, a host needs none."""
    fields = {
        "family": family_of(address.address.version),
        "prefixlen": address.address.max_prefixlen,
        "scope": SCOPE_UNIVERSE,
        "index": index,
    }
    text = str(address.address)
    attributes: list[tuple[str, object]] = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if not new:
        return routing_request(RoutingType.DELETE_ADDRESS, 0, fields, attributes, about=address)
    attributes.append(("IFA_FLAGS", NO_DAD | NO_PREFIX_ROUTE))
    return routing_request(
        RoutingType.NEW_ADDRESS, CREATE | REPLACE, fields, attributes, about=address
    )


# --- routes --------------------------------------------------------------------


def get_routes(family: int, table: int) -> Request:
    """Ask for our routes of one table; the kernel filters (it answers `ENOENT` for no table)."""
    return routing_request(
        RoutingType.GET_ROUTE,
        DUMP,
        {"family": family, "proto": ROUTE_PROTOCOL},
        [("RTA_TABLE", table)],
        about=f"list routes of table {table}",
    )


def get_route_to(destination: IPAddress, mark: int) -> Request:
    """Ask where a packet with `mark` to `destination` would go; an error means nowhere."""
    return routing_request(
        RoutingType.GET_ROUTE,
        0,
        {"family": family_of(destination.version), "dst_len": destination.max_prefixlen},
        [("RTA_DST", str(destination)), ("RTA_MARK", mark)],
        about=f"route to {destination}",
    )


def read_route(message: Message, names: Mapping[int, str]) -> Route | None:
    """Read one of our routes; `names` are the links by index. None for what is not ours."""
    route = RoutingMessage(message)
    kind = _KIND_NAMES.get(route.field("type"))
    if route.field("proto") != ROUTE_PROTOCOL or kind is None:
        return None
    table, index = route.number("RTA_TABLE"), route.number("RTA_OIF")
    source = route.text("RTA_PREFSRC")
    gateway = route.text("RTA_GATEWAY")
    # Nobody asks for these, so somebody changed it. A gateway stands for its device, too.
    odd = gateway is not None or not route.names.isdisjoint({"RTA_VIA", "RTA_MULTIPATH"})
    device = None if index is None or odd or kind != "unicast" else names.get(index, "?")
    return Route(
        route.field("table") if table is None else table,
        _network(route.field("family"), route.text("RTA_DST"), route.field("dst_len")),
        device,
        kind,
        None if source is None else ip_address(source),
        route.nested_number("RTA_METRICS", "RTAX_MTU"),
        None if gateway is None else ip_address(gateway),
    )


def _network(family: int, address: str | None, length: int) -> IPNetwork:
    if family == socket.AF_INET:
        return IPv4Network((address or "0.0.0.0", length))
    return IPv6Network((address or "::", length))


def write_route(route: Route, index: int, *, new: bool) -> Request:
    """Add or replace (or take away) a route; `index` is its link, 0 for none."""
    destination = route.destination
    scope = SCOPE_NOWHERE if not new else SCOPE_LINK if index else SCOPE_UNIVERSE
    if new and destination.version == 6:  # noqa: PLR2004  # IPv6 routes have no scope
        scope = SCOPE_UNIVERSE
    fields = {
        "family": family_of(destination.version),
        "dst_len": destination.prefixlen,
        "table": _short(route.table),
        "proto": ROUTE_PROTOCOL,
        "scope": scope,
        "type": _KINDS[route.kind],
    }
    attributes: list[tuple[str, object]] = [("RTA_DST", str(destination.network_address))]
    if route.table != fields["table"]:
        attributes.append(("RTA_TABLE", route.table))
    if index:
        attributes.append(("RTA_OIF", index))
    if route.gateway is not None:
        attributes.append(("RTA_GATEWAY", str(route.gateway)))
    if not new:
        return routing_request(RoutingType.DELETE_ROUTE, 0, fields, attributes, about=route)
    if route.source is not None:
        attributes.append(("RTA_PREFSRC", str(route.source)))
    if route.mtu is not None:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_MTU", route.mtu)]}))
    return routing_request(RoutingType.NEW_ROUTE, CREATE | REPLACE, fields, attributes, about=route)


def _short(table: int) -> int:
    """Return what the header's eight bits say about a table."""
    return table if table < 256 else 0  # noqa: PLR2004  # eight bits


# --- rules ---------------------------------------------------------------------


def get_rules(family: int) -> Request:
    return routing_request(RoutingType.GET_RULE, DUMP, {"family": family}, about="list rules")


def read_rule(message: Message) -> Rule | None:
    """Read one of our rules; None for everybody else's and for what we never write."""
    rule = RoutingMessage(message)
    priority, table = rule.number("FRA_PRIORITY"), rule.number("FRA_TABLE")
    if rule.number("FRA_PROTOCOL") != ROUTE_PROTOCOL or priority is None:
        return None
    if table is None:
        table = rule.field("table")
    if rule.field("action") != ACTION_TABLE or not rule.names.isdisjoint(_FOREIGN_SELECTORS):
        table = 0  # ours by its mark, but bent by somebody: equal to no rule that is wanted
    mark, mask = rule.number("FRA_FWMARK"), rule.number("FRA_FWMASK")
    if mark is None and mask:  # the kernel leaves out a mark of 0
        mark = 0
    destination, source = rule.text("FRA_DST"), rule.text("FRA_SRC")
    incoming = rule.text("FRA_IIFNAME")
    return Rule(
        family=4 if rule.field("family") == socket.AF_INET else 6,
        priority=priority,
        table=table,
        mark=mark,
        mask=None if mask == _ALL_BITS else mask,
        invert=bool(rule.field("flags") & RULE_INVERT),
        destination=(
            _network(rule.field("family"), destination, rule.field("dst_len"))
            if destination
            else None
        ),
        source=_network(rule.field("family"), source, rule.field("src_len")) if source else None,
        own=incoming == LOOPBACK,
        incoming=None if incoming == LOOPBACK else incoming,
        outgoing=rule.text("FRA_OIFNAME"),
    )


def add_rule(rule: Rule) -> Request:
    fields = {
        "family": family_of(rule.family),
        "table": _short(rule.table),
        "action": ACTION_TABLE,
        "flags": RULE_INVERT if rule.invert else 0,
    }
    attributes: list[tuple[str, object]] = [
        ("FRA_PRIORITY", rule.priority),
        ("FRA_TABLE", rule.table),
        ("FRA_PROTOCOL", ROUTE_PROTOCOL),
    ]
    if rule.mark is not None:
        mask = _ALL_BITS if rule.mask is None else rule.mask
        attributes += [("FRA_FWMARK", rule.mark), ("FRA_FWMASK", mask)]
    if rule.destination is not None:
        fields["dst_len"] = rule.destination.prefixlen
        attributes.append(("FRA_DST", str(rule.destination.network_address)))
    if rule.source is not None:
        fields["src_len"] = rule.source.prefixlen
        attributes.append(("FRA_SRC", str(rule.source.network_address)))
    if rule.own or rule.incoming is not None:
        attributes.append(("FRA_IIFNAME", LOOPBACK if rule.own else rule.incoming))
    if rule.outgoing is not None:
        attributes.append(("FRA_OIFNAME", rule.outgoing))
    return routing_request(RoutingType.NEW_RULE, CREATE | EXCLUSIVE, fields, attributes, about=rule)


def delete_rule(message: Message, about: object) -> Request:
    """Take away exactly the rule that the kernel described with `message`."""
    return Request(RoutingType.DELETE_RULE, 0, message.body, about)
