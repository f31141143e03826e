"""A LAN as offices have it: a switch, a router that is not the box, and a network behind that.

    box ── lan0 ─┐
    host ─ eth0 ─┤ switch
    gate ─ lan0 ─┘
      │ deep0     10.2n.0.0/24
    deep          what only the gate knows the way to

The hosts' router is the gate; the box is one host among others.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine, connect
from gatepost.testing.topology import PREFIX_V6, Site

ROUTES_OF_ANY_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Office:
    """The LAN of `site`, with its router and the machine behind that."""

    site: Site
    gate: Machine
    deep: Machine

    @property
    def gate_v4(self) -> IPv4Address:
        return self.site.lan_v4[-2]

    @property
    def deep_v4(self) -> IPv4Network:
        return IPv4Network(f"10.{20 + self.site.number}.0.0/24")

    @property
    def deep_host(self) -> IPv4Address:
        return self.deep_v4[2]


def make_office(lab: Lab, site: Site) -> Office:
    """Lay the cables of a site anew, with a switch and a router."""
    name = site.name
    switch, gate, deep = lab.owner.add(f"switch-{name}", f"gate-{name}", f"deep-{name}")
    office = Office(site, gate, deep)
    site.box.ip("link delete lan0")
    switch.ip("link add bridge0 type bridge", "link set bridge0 up")
    for number, (machine, link) in enumerate(
        ((site.box, "lan0"), (site.host, "eth0"), (gate, "lan0"))
    ):
        connect(switch, f"port{number}", machine, link)
        switch.ip(f"link set port{number} master bridge0")
    connect(gate, "deep0", deep, "eth0")
    v4, v6 = site.lan_v4, site.lan_v6
    site.box.ip(
        f"address add {v4[1]}/{v4.prefixlen} dev lan0",
        f"address add {v6[1]}/{PREFIX_V6} dev lan0",
    )
    site.host.ip(
        f"address add {v4[2]}/{v4.prefixlen} dev eth0",
        f"address add {v6[2]}/{PREFIX_V6} dev eth0",
        f"route add default via {office.gate_v4}",
    )
    # The kernel learns routes from advertisements by itself, but by default of no length.
    site.host.sysctl(
        net__ipv6__conf__eth0__accept_ra=1,
        net__ipv6__conf__eth0__accept_ra_rt_info_max_plen=ROUTES_OF_ANY_LENGTH,
    )
    gate.ip(
        f"address add {office.gate_v4}/{v4.prefixlen} dev lan0",
        f"address add {office.deep_v4[1]}/{office.deep_v4.prefixlen} dev deep0",
    )
    gate.sysctl(net__ipv4__ip_forward=1)
    deep.ip(
        f"address add {office.deep_host}/{office.deep_v4.prefixlen} dev eth0",
        f"route add default via {office.deep_v4[1]}",
    )
    return office
