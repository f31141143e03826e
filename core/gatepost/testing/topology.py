"""The ground of the lab: an internet, sites with or without a NAT router, and their LANs.

    internet 203.0.113.1 ───────────┬─────────────────────┬─────────────── ...
                                    │ 198.51.100.4n/30    │ 2001:db8:ffff:n::/64
                              (router: NAT)               │
                                    │ 192.168.n.0/24      │ 2001:db8:n::/64
                                   box  ◄─ Gatepost runs here
                                    │ 10.n.0.0/24           fd0a:n::/64
                                   host ◄─ knows nothing of Gatepost

Behind a double NAT the router's uplink, 100.64.0.4n/30, leads to another
router, the carrier's. A box with IPv6 only has no IPv4 on `wan0`.

Sites are numbered from 1. Nothing of Gatepost is here: this is what a company
has before it installs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gatepost.testing.nat import Nat, router_rules
from gatepost.testing.netns import Machine, Machines, connect

__all__ = ["INTERNET_V4", "INTERNET_V6", "Nat", "Site", "Topology", "build"]

INTERNET_V4 = IPv4Address("203.0.113.1")
INTERNET_V6 = IPv6Address("2001:db8::1")
PREFIX_V6 = 64


@dataclass(frozen=True, slots=True)
class Site:
    """One site. `number` is 1 to 60; all its addresses follow from it."""

    name: str
    number: int
    nat: Nat
    box: Machine
    host: Machine
    router: Machine | None = None
    carrier: Machine | None = None  # the outer router of a double NAT
    lan: IPv4Network | None = None  # of its own choice, which other sites may have made too

    @property
    def lan_v4(self) -> IPv4Network:
        return self.lan or IPv4Network(f"10.{self.number}.0.0/24")

    @property
    def lan_v6(self) -> IPv6Network:
        return IPv6Network(f"fd0a:{self.number:x}::/64")

    @property
    def host_v4(self) -> IPv4Address:
        return self.lan_v4[2]

    @property
    def host_v6(self) -> IPv6Address:
        return self.lan_v6[2]

    @property
    def public_v4(self) -> IPv4Address:
        """The address the internet sees: the box's own, or its router's."""
        return _uplink_v4(self.number)[2]

    @property
    def public_v6(self) -> IPv6Address:
        """The box's own address with or without a router: IPv6 is not translated."""
        return (_inside_v6 if self.router else _uplink_v6)(self.number)[2]

    @property
    def edge(self) -> Machine:
        """The machine that is plugged into the internet."""
        return self.carrier or self.router or self.box

    @property
    def routers(self) -> tuple[tuple[Machine, IPv4Address], ...]:
        """The routers from the inside out, each with the one address that is behind it."""
        behind = (_inside_v4(self.number)[2], _between_v4(self.number)[2])
        return tuple(zip(filter(None, (self.router, self.carrier)), behind, strict=False))

    @property
    def inside_v4(self) -> IPv4Network:
        """The network between a router and its box."""
        return _inside_v4(self.number)

    @property
    def inside_v6(self) -> IPv6Network:
        """The network between a router and its box."""
        return _inside_v6(self.number)


def _uplink_v4(number: int) -> IPv4Network:
    return IPv4Network((int(IPv4Address("198.51.100.0")) + 4 * number, 30))


def _uplink_v6(number: int) -> IPv6Network:
    return IPv6Network(f"2001:db8:ffff:{number:x}::/64")


def _between_v4(number: int) -> IPv4Network:
    """Return the network between a carrier and its customer, RFC 6598."""
    return IPv4Network((int(IPv4Address("100.64.0.0")) + 4 * number, 30))


def _between_v6(number: int) -> IPv6Network:
    return IPv6Network(f"2001:db8:fffe:{number:x}::/64")


def _inside_v4(number: int) -> IPv4Network:
    return IPv4Network(f"192.168.{number}.0/24")


def _inside_v6(number: int) -> IPv6Network:
    return IPv6Network(f"2001:db8:{number:x}::/64")


@dataclass(frozen=True, slots=True)
class Topology:
    """An internet with its sites, in order of their numbers."""

    internet: Machine
    sites: tuple[Site, ...]

    def site(self, name: str) -> Site:
        """Return the site of this name; raise StopIteration when there is none."""
        return next(site for site in self.sites if site.name == name)

    def block_udp(self) -> None:
        """Let the internet carry no UDP, as some hotels' and companies' networks do."""
        self.internet.nft(
            "table inet weather { chain carry { type filter hook forward priority 0;"
            " meta l4proto udp drop; }; }"
        )

    def allow_udp(self) -> None:
        """Undo block_udp."""
        self.internet.run("nft", "delete", "table", "inet", "weather")


def build(owner: Machines, nats: Mapping[str, Nat], lan: IPv4Network | None = None) -> Topology:
    """Build an internet and one site per entry of `nats`, which maps its name to its router.

    With `lan` all sites have that one network, as sites have that nobody planned together.
    """
    names = ["internet"]
    for name, nat in nats.items():
        names += [f"box-{name}", f"host-{name}"]
        names += [f"router-{name}"] if nat is not Nat.NONE else []
        names += [f"carrier-{name}"] if nat is Nat.DOUBLE else []
    made = {machine.name: machine for machine in owner.add(*names)}
    internet = made["internet"]
    internet.ip(f"address add {INTERNET_V4}/32 dev lo", f"address add {INTERNET_V6}/128 dev lo")
    internet.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    sites = tuple(
        Site(
            name,
            number,
            nat,
            made[f"box-{name}"],
            made[f"host-{name}"],
            made.get(f"router-{name}"),
            made.get(f"carrier-{name}"),
            lan,
        )
        for number, (name, nat) in enumerate(nats.items(), start=1)
    )
    for site in sites:
        _connect_site(internet, site)
    return Topology(internet, sites)


def _connect_site(internet: Machine, site: Site) -> None:
    connect(internet, f"site-{site.number}", site.edge, "wan0")
    v4, v6 = _uplink_v4(site.number), _uplink_v6(site.number)
    internet.ip(
        f"address add {v4[1]}/30 dev site-{site.number}",
        f"address add {v6[1]}/{PREFIX_V6} dev site-{site.number}",
        f"route add {_inside_v6(site.number)} via {v6[2]}",
    )
    _set_up_edge(site.edge, "wan0", v4, v6)
    if site.carrier and site.router:
        between = _between_v4(site.number), _between_v6(site.number)
        _connect_behind(site.carrier, site.router, *between)
        site.carrier.ip(f"route add {_inside_v6(site.number)} via {between[1][2]}")
    if site.router:
        _connect_behind(site.router, site.box, _inside_v4(site.number), _inside_v6(site.number))
    for router, behind in site.routers:
        router.nft(router_rules(site.nat, behind))
    if site.nat is Nat.IPV6_ONLY:
        inside = _inside_v4(site.number)
        site.box.ip(f"address delete {inside[2]}/{inside.prefixlen} dev wan0")
    connect(site.box, "lan0", site.host, "eth0")
    site.box.ip(
        f"address add {site.lan_v4[1]}/24 dev lan0",
        f"address add {site.lan_v6[1]}/{PREFIX_V6} dev lan0",
    )
    _set_up_edge(site.host, "eth0", site.lan_v4, site.lan_v6)


def _connect_behind(router: Machine, inner: Machine, v4: IPv4Network, v6: IPv6Network) -> None:
    """Plug the uplink of `inner` into `router`."""
    connect(router, "inside0", inner, "wan0")
    router.ip(
        f"address add {v4[1]}/{v4.prefixlen} dev inside0",
        f"address add {v6[1]}/{PREFIX_V6} dev inside0",
    )
    _set_up_edge(inner, "wan0", v4, v6)
    router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)


def _set_up_edge(machine: Machine, link: str, v4: IPv4Network, v6: IPv6Network) -> None:
    """Give `machine` the second address of both networks and the first as its gateway."""
    machine.ip(
        f"address add {v4[2]}/{v4.prefixlen} dev {link}",
        f"address add {v6[2]}/{PREFIX_V6} dev {link}",
        f"route add default via {v4[1]}",
        f"route add default via {v6[1]}",
    )
