"""Make the tunnel fit paths that carry 1,280 octets and lose longer packets without a word.

The kernel learns how long a packet may be from ICMP. Where that is blocked, path discovery
measures it, and says here which peers' addresses do not take a whole packet of the tunnel. Such
an address gets

    a route    as the kernel would route to it, but with a locked MTU: WireGuard's packets are
               cut by this machine, and carry no "do not fragment" (IPv4), so that what
               comes out of the tunnel is whole, whatever it is
    a clamp    in an nftables table of its own: TCP to and from what is behind the peer stays so
               small that nothing need be cut. Fragments cost time, and some routers drop them

Only what carries WireGuard's mark looks into the table of these routes. They follow the main
table: `apply` asks again how the address is reached, and is called every few seconds. Both stay
when the daemon goes, as all that traffic needs; elements of the clamp end after `EXPIRY`. The
clamp is written when it is another one, and every `RENEWAL`: whatever changes in nftables makes
the daemon look at all of its tables.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from gatepost.linux import rtnetlink
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
from gatepost.linux.nft import PROGRAM, run_nft
from gatepost.model.netmap import Endpoint, IPAddress, IPNetwork
from gatepost.model.owned import (
    DEVICE,
    MARK,
    NARROW_MTU,
    NARROW_TABLE,
    NFT_NARROW_TABLE,
)

log = logging.getLogger(__name__)

EXPIRY = 900  # seconds; who still wants an element sets it again before
RENEWAL = 60.0  # seconds; a clamp that was deleted by hand is back after them
SEGMENT_4 = 1160  # octets: 1,280 less IPv6, UDP and WireGuard outside, less IPv4 and TCP inside
SEGMENT_6 = 1140
# WireGuard's rule matches all 32 bits, ours in the mesh only some: with one more bit the kernel
# says how it would go without the routes of this module.
_PAST_US = MARK | 1
_GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV})

_TEXT = """\
table inet {table} {{
	set peers4 {{
		type ipv4_addr; flags interval, timeout; timeout {expiry}s
{elements4}	}}
	set peers6 {{
		type ipv6_addr; flags interval, timeout; timeout {expiry}s
{elements6}	}}
	chain clamp {{
		ip saddr @peers4 tcp option maxseg size set {segment4} return
		ip daddr @peers4 tcp option maxseg size set {segment4} return
		ip6 saddr @peers6 tcp option maxseg size set {segment6} return
		ip6 daddr @peers6 tcp option maxseg size set {segment6} return
	}}
"""
_HOOKS = (("prerouting", "iifname"), ("postrouting", "oifname"))


def narrow_text(prefixes: Iterable[IPNetwork]) -> str:
    """Return the script that clamps TCP to and from these networks and no others."""
    given = tuple(prefixes)
    fours = collapse_addresses(n for n in given if isinstance(n, IPv4Network))
    sixes = collapse_addresses(n for n in given if isinstance(n, IPv6Network))
    known: list[IPNetwork] = [*fours, *sixes]
    script = f"add table inet {NFT_NARROW_TABLE}\ndelete table inet {NFT_NARROW_TABLE}\n"
    if not known:
        return script
    script += _TEXT.format(
        table=NFT_NARROW_TABLE,
        expiry=EXPIRY,
        segment4=SEGMENT_4,
        segment6=SEGMENT_6,
        elements4=_elements(known, 4),
        elements6=_elements(known, 6),
    )
    for hook, side in _HOOKS:
        script += (
            f"\tchain {hook} {{\n\t\ttype filter hook {hook} priority mangle + 5; policy accept;\n"
            f'\t\t{side} "{DEVICE}" tcp flags & (syn | rst) == syn jump clamp\n\t}}\n'
        )
    return script + "}\n"


def _elements(networks: Iterable[IPNetwork], version: int) -> str:
    found = ", ".join(str(n) for n in networks if n.version == version)
    return f"\t\telements = {{ {found} }}\n" if found else ""


class NarrowPaths:
    """Owns the table of routes and that of the packet filter."""

    def __init__(self, netlink: Netlink, program: str = PROGRAM) -> None:
        self._netlink = netlink
        self._program = program
        self._courses: dict[IPAddress, Course] | None = None  # None: not looked yet
        self._clamp: tuple[str, float] | None = None  # the script that nft ran, and when

    async def apply(self, peers: Mapping[Endpoint, Collection[IPNetwork]]) -> None:
        """Let these addresses be narrow, and the networks behind them; no others.

        Raise `OSError` when the kernel or nft refuses.
        """
        wanted = {e.address for e in peers}
        if self._courses is None and not wanted and not await self._strange(wanted):
            self._courses = {}  # the usual case: nothing to take back, so nft is not run
            return
        await self._route(wanted)
        script = narrow_text(n for networks in peers.values() for n in networks)
        now = time.monotonic()
        if self._clamp is not None and self._clamp[0] == script and now < self._clamp[1] + RENEWAL:
            return
        await run_nft(script, "-f", "-", program=self._program)
        self._clamp = script, now

    async def _route(self, wanted: set[IPAddress]) -> None:
        before = self._courses or {}
        links = await all_links(self._netlink)
        courses = dict[IPAddress, Course]()
        for address in wanted:
            try:
                course = await find_course(self._netlink, address, links, mark=_PAST_US)
            except OSError as error:  # there is no way at all now
                log.debug("course to %s: %s", address, error)
                continue
            if course is not None:
                courses[address] = course
        stale = await self._strange(set(courses))
        await self._netlink.write([_removal(a) for a in stale], _GONE)
        there = await self._there()
        fresh = [a for a, c in courses.items() if before.get(a) != c or a not in there]
        await self._netlink.write([_route(a, courses[a]) for a in fresh])
        self._courses = courses

    async def _strange(self, wanted: Collection[IPAddress]) -> set[IPAddress]:
        return {a for a in await self._there() if a not in wanted}

    async def _there(self) -> set[IPAddress]:
        """Return whom our table has routes to; the kernel drops them with their device."""
        found = set[IPAddress]()
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                messages = await self._netlink.ask(rtnetlink.get_routes(family, NARROW_TABLE))
            except FileNotFoundError:
                continue  # nobody ever put a route into this table
            addresses = (rtnetlink_address(RoutingMessage(m).text("RTA_DST")) for m in messages)
            found |= {a for a in addresses if a is not None}
        return found


def _route(address: IPAddress, course: Course) -> Request:
    return route_along(address, course, NARROW_TABLE, f"narrow route to {address}", NARROW_MTU)


def _removal(address: IPAddress) -> Request:
    return route_removal(address, NARROW_TABLE, f"narrow route to {address}")
