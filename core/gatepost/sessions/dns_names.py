"""Which names the mesh knows, and who is to be asked for the others. Pure; no message format.

A name under the mesh's own suffix, and a reverse name of a mesh address, is
answered here or does not exist: it is never asked of anybody. Source: protocol
document 7.1, data path document on 4via6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gatepost.model.netmap import DnsRoute, IPAddress, IPNetwork, NetMap
from gatepost.model.resolver import Host, NamePlan

SERVICE_V4, SERVICE_V6 = IPv4Address("100.100.100.100"), IPv6Address("fd7a:115c:a1e0::53")
VIA = int(IPv6Address("fd7a:115c:a1e0:b1a::"))  # /64, then the site's 32 bits, then an IPv4 address
_VIA_NAME = re.compile(r"(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})-via-(\d{1,10})", re.ASCII)
_VIA_SUFFIXES = ("ts.net", "tailscale.net")  # under which official clients know such names
_SITE_LIMIT = 1 << 32
# Reverse zones of the mesh's ranges: 64 to 127 of 100, and /48 in nibbles.
_REVERSE_V4 = frozenset(f"{n}.100.in-addr.arpa" for n in range(64, 128))
_REVERSE_V6 = "0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa"
REVERSE_ZONES = (*sorted(_REVERSE_V4), _REVERSE_V6)
# Not the ranges for documentation: nobody is there.
_INSIDE: tuple[IPNetwork, ...] = (
    *map(IPv4Network, (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
    )),
    *map(IPv6Network, ("::/127", "fc00::/7", "fe80::/10", "ff00::/8")),
)  # fmt: skip
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_NIBBLES, _OCTETS = 32, 4
# Names that are no public ones: reserved (RFC 6761, 6762, 7686, 8375, ICANN's "internal"), or
# never given out and used by routers in millions of homes.
LOCAL_SUFFIXES = frozenset(
    {"test", "localhost", "local", "home.arpa", "internal", "lan", "home", "corp", "fritz.box"}
)


class Missing(Enum):
    """Why there is no answer here."""

    NAME = auto()  # the name does not exist
    RECORD = auto()  # it does, but has nothing of this type


@dataclass(frozen=True, slots=True)
class Addresses:
    """The name is a machine's."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Pointer:
    """The name is an address written backwards; `name` is whose address it is."""

    name: str


Finding = Addresses | Pointer | Missing | DnsRoute | None


def name_plan(netmap: NetMap) -> NamePlan:
    """Gather what the mesh knows."""
    hosts = dict[str, tuple[IPAddress, ...]]()
    for node in (netmap.me, *netmap.peers):
        if node.name and not node.expired:
            hosts[node.name.lower()] = node.addresses
    return NamePlan(
        suffix=netmap.me.name.lower().partition(".")[2],
        hosts=tuple(sorted(hosts.items())),
        records=gather_records(netmap.dns.records),
        routes=netmap.dns.routes,
        fallback=netmap.dns.fallback,
    )


def gather_records(records: Iterable[tuple[str, IPAddress]]) -> tuple[Host, ...]:
    """Return each name once, with all its addresses."""
    found = dict[str, tuple[IPAddress, ...]]()
    for name, address in records:
        found[name] = (*found.get(name, ()), address)
    return tuple(sorted(found.items()))


class Names:
    """A plan, made ready for look-ups."""

    def __init__(self, plan: NamePlan) -> None:
        self._suffix = plan.suffix
        self._known = dict(plan.hosts)
        for name, addresses in plan.records:
            self._known[name] = (*self._known.get(name, ()), *addresses)
        self._inner = frozenset(_ancestors(self._known, plan.suffix))
        self._pointers = {a: name for name, held in reversed(plan.hosts) for a in held}
        self._routes = {route.suffix: route for route in plan.routes}
        self._short = _short_names(plan.hosts)
        self.may_be_private = frozenset({*LOCAL_SUFFIXES, *plan.may_be_private})

    def find(self, name: str) -> Finding:
        """Say what is known of a name; a route is whom to ask, None is that nobody is there.

        `name` is in small letters without the final dot; "" is the root.
        """
        if (known := self._known.get(name, self._short.get(name))) is not None:
            return Addresses(known)
        if (via := self._via(name)) is not None:
            return Addresses((via,))
        if (reverse := self._reverse(name)) is not None:
            return reverse
        return Missing.RECORD if name in self._inner else self._elsewhere(name)

    def _elsewhere(self, name: str) -> DnsRoute | Missing | None:
        """Find who may be asked for a name that is unknown here."""
        route = self._route(name)
        if self._suffix and _is_under(name, self._suffix):
            # Only what somebody gave a part of the mesh's own names to leaves the box.
            is_part = route is not None and len(route.suffix) > len(self._suffix)
            if not is_part:
                return Missing.RECORD if name == self._suffix else Missing.NAME
        if route is None or route.servers or route.unusable:
            return route
        return Missing.RECORD if name == route.suffix else Missing.NAME

    def _route(self, name: str) -> DnsRoute | None:
        """Return the route with the longest suffix; the one for every name only with servers."""
        rest = name
        while rest:
            if (route := self._routes.get(rest)) is not None:
                return route
            rest = rest.partition(".")[2]
        route = self._routes.get("")
        return route if route and (route.servers or route.unusable) else None

    def _via(self, name: str) -> IPv6Address | None:
        label, _, domain = name.partition(".")
        is_ours = domain in {"", self._suffix} or any(_is_under(domain, s) for s in _VIA_SUFFIXES)
        return via_address(label) if is_ours else None

    def _reverse(self, name: str) -> Pointer | Missing | None:
        if not _is_mesh_reverse(name):
            return None
        address = reverse_address(name)
        if address is None:  # a zone, or what is in none
            return Missing.RECORD
        if (host := self._pointers.get(address)) is not None:
            return Pointer(host)
        if (label := via_label(address)) is not None and self._suffix:
            return Pointer(f"{label}.{self._suffix}")
        return Missing.NAME


def via_address(label: str) -> IPv6Address | None:
    """Read `10-0-0-1-via-7`; None if it is no such label."""
    if (match := _VIA_NAME.fullmatch(label)) is None:
        return None
    *octets, site = match.groups()
    try:
        inner = IPv4Address(".".join(octets))
    except ValueError:
        return None
    if int(site) >= _SITE_LIMIT:
        return None
    return IPv6Address(VIA | int(site) << 32 | int(inner))


def via_label(address: IPAddress) -> str | None:
    """Write `10-0-0-1-via-7` for an address of a site; None for every other address."""
    number = int(address)
    if address.version == 4 or number >> 64 != VIA >> 64:  # noqa: PLR2004  # the version of IP
        return None
    inner = str(IPv4Address(number & 0xFFFFFFFF)).replace(".", "-")
    return f"{inner}-via-{number >> 32 & 0xFFFFFFFF}"


def reverse_address(name: str) -> IPAddress | None:
    """Read a whole name of in-addr.arpa or ip6.arpa (RFC 1035 3.5, RFC 3596 2.5)."""
    labels = name.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == _OCTETS + 2:
            return IPv4Address(".".join(reversed(labels[:_OCTETS])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == _NIBBLES + 2:
            if any(len(nibble) != 1 for nibble in labels[:_NIBBLES]):
                return None
            return IPv6Address(int("".join(reversed(labels[:_NIBBLES])), 16))
    except ValueError:
        return None
    return None


def is_inside(address: IPAddress) -> bool:
    """Say whether an address is one that no public name should have (DNS rebinding)."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return True
    there = behind_nat64(address)
    return any(there in network for network in _INSIDE)


def behind_nat64(address: IPAddress) -> IPAddress:
    """Return the IPv4 host that an address of NAT64 leads to; any other address as it is."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def is_under_any(name: str, suffixes: frozenset[str]) -> bool:
    """Say whether a name is one of `suffixes` or under one; "" among them is every name."""
    rest = name
    while rest:
        if rest in suffixes:
            return True
        rest = rest.partition(".")[2]
    return "" in suffixes


def _is_mesh_reverse(name: str) -> bool:
    if name.endswith(".in-addr.arpa"):
        return ".".join(name.split(".")[-4:]) in _REVERSE_V4
    return _is_under(name, _REVERSE_V6)


def _is_under(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith(f".{suffix}")


def _short_names(hosts: Iterable[Host]) -> Mapping[str, tuple[IPAddress, ...]]:
    found = dict[str, tuple[IPAddress, ...]]()
    twice = set[str]()
    for name, addresses in hosts:
        label = name.partition(".")[0]
        (twice.add(label) if label in found else found.setdefault(label, addresses))
    return {label: held for label, held in found.items() if label not in twice}


def _ancestors(names: Iterable[str], suffix: str) -> Iterator[str]:
    """Name what stands between the suffix and a name: such a name exists, with nothing of its own.

    Only below the suffix: about the rest of the world we know single names.
    """
    for name in names:
        rest = name.partition(".")[2]
        while rest.endswith(f".{suffix}"):
            yield rest
            rest = rest.partition(".")[2]


__all__ = [
    "REVERSE_ZONES", "SERVICE_V4", "SERVICE_V6", "Addresses", "Finding", "Missing", "NamePlan",
    "Names", "Pointer", "behind_nat64", "gather_records", "is_inside", "is_under_any", "name_plan",
    "reverse_address", "via_address", "via_label",
]  # fmt: skip
