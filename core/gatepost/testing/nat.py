"""The routers of the lab as nftables rules, named as RFC 4787 names what they do.

A NAT has two properties that decide whether two boxes find a direct path:

    mapping     which outer port an inner one gets (RFC 4787, 4.1)
      EI        the same one for every destination
      APD       another one for each destination address and port
    filtering   who may send to that outer port (RFC 4787, 5)
      EI        everybody
      AD        addresses that the inner port has sent to
      APD       addresses and ports that it has sent to

The outer port is a hash of the inner one where the mapping is EI, so nobody
succeeds by guessing that ports are preserved. The kernel's own NAT is APD in
its filtering: a packet belongs to a connection or it does not. Who is more
generous remembers in a map which outer port stands for which inner one, and
whom it has sent to; both are forgotten after MAPPING_LIFETIME, and made by
packets that leave, never by the rules. `tests/testing/test_nat.py` measures
every model from outside.

IPv6 is not translated. Its filtering is APD (RFC 6092's "simple security"),
as home routers have it, on all sites with a router.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

MAPPING_LIFETIME = 120  # seconds without a packet; RFC 4787 asks for two minutes at least
FIRST_SEED = 7  # of the hash of ports; another one is another NAT


class Mapping(Enum):
    """Which outer port an inner one gets."""

    ENDPOINT_INDEPENDENT = "endpoint-independent mapping"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent mapping"


class Filtering(Enum):
    """Who may send to an outer port."""

    ENDPOINT_INDEPENDENT = "endpoint-independent filtering"
    ADDRESS_DEPENDENT = "address-dependent filtering"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent filtering"


class Nat(Enum):
    """What stands between a box and the internet. The value is how tables print it."""

    NONE = "none"  # the box has public addresses, and nothing filters
    ENDPOINT_INDEPENDENT = "endpoint independent"  # also called full cone
    ADDRESS_RESTRICTED = "address restricted"
    PORT_RESTRICTED = "port restricted"  # most home routers
    SYMMETRIC = "symmetric"  # also called hard: offices, mobile networks
    DOUBLE = "double"  # port restricted behind the carrier's, port restricted, too
    UDP_BLOCKED = "udp blocked"  # hotels: TCP and ping only
    IPV6_ONLY = "ipv6 only"  # no IPv4 to the internet at all
    PORT_MAPPING = "port mapping"  # symmetric, with a daemon that opens ports when asked


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the internet sees of a NAT for IPv4."""

    mapping: Mapping
    filtering: Filtering


_EI, _APD = Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
# None: there is no NAT, or nothing to tell about UDP over IPv4.
BEHAVIOUR: dict[Nat, Behaviour | None] = {
    Nat.NONE: None,
    Nat.ENDPOINT_INDEPENDENT: Behaviour(_EI, Filtering.ENDPOINT_INDEPENDENT),
    Nat.ADDRESS_RESTRICTED: Behaviour(_EI, Filtering.ADDRESS_DEPENDENT),
    Nat.PORT_RESTRICTED: Behaviour(_EI, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Nat.SYMMETRIC: Behaviour(_APD, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Nat.DOUBLE: Behaviour(_EI, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Nat.UDP_BLOCKED: None,
    Nat.IPV6_ONLY: None,
    Nat.PORT_MAPPING: Behaviour(_APD, Filtering.ADDRESS_AND_PORT_DEPENDENT),
}


def router_rules(nat: Nat, inside: IPv4Address, *, seed: int = FIRST_SEED) -> str:
    """Return the rules of a router whose uplink is `wan0`, for one machine `inside`.

    They replace what was loaded before. Another `seed` maps all ports anew.

    Unasked packets to the router itself are dropped, as real ones do. Without
    that, a peer's packet that comes before ours makes a conntrack entry of its
    own, ours collides with it and leaves from another port.
    """
    behaviour = BEHAVIOUR[nat]
    filtering = behaviour.filtering if behaviour else None
    generous = filtering in {Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT}
    blocked = "meta l4proto udp drop" if nat is Nat.UDP_BLOCKED else ""
    return f"""
table inet router
delete table inet router
table inet router {{
  chain to_router {{
    type filter hook input priority filter; policy accept;
    iifname "wan0" ct state new meta l4proto {{ tcp, udp }} drop
  }}
  chain through {{
    type filter hook forward priority filter; policy accept;
    {blocked}
    iifname "wan0" ct status dnat accept
    iifname "wan0" ct state new drop
    iifname "wan0" ct state invalid drop
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    {_mapping(behaviour, seed)}
    oifname "wan0" meta nfproto ipv4 masquerade
  }}
  {_memory(filtering, inside) if generous else ""}
}}
"""


def _mapping(behaviour: Behaviour | None, seed: int) -> str:
    """Return the rule that chooses the outer port of UDP."""
    if behaviour is None:
        return ""
    udp = 'oifname "wan0" meta nfproto ipv4 meta l4proto udp'
    if behaviour.mapping is _EI:
        return f"{udp} masquerade to :jhash udp sport mod 16384 seed {seed:#x} offset 32768"
    return f"{udp} masquerade fully-random"


def _memory(filtering: Filtering | None, inside: IPv4Address) -> str:
    """Return the sets that remember who was sent to, and the rules that let those in.

    The chain `remember` runs after the translation, so it sees the outer port
    in the packet; conntrack knows the inner one, as the source of whoever began.
    """
    known = (
        "udp dport @mapped"
        if filtering is Filtering.ENDPOINT_INDEPENDENT
        else "udp dport . ip saddr @contacted"
    )
    udp = 'oifname "wan0" meta nfproto ipv4 meta l4proto udp'
    lifetime = f"flags dynamic,timeout; timeout {MAPPING_LIFETIME}s"
    return f"""
  map inner {{ type inet_service : inet_service; {lifetime}; }}
  set mapped {{ type inet_service; {lifetime}; }}
  set contacted {{ type inet_service . ipv4_addr; {lifetime}; }}
  chain arriving {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" {known} dnat ip to {inside}:udp dport map @inner
  }}
  chain remember {{
    type filter hook postrouting priority srcnat + 50; policy accept;
    {udp} update @mapped {{ udp sport }}
    {udp} update @contacted {{ udp sport . ip daddr }}
    {udp} ct direction original update @inner {{ udp sport : ct original proto-src }}
    {udp} ct direction reply update @inner {{ udp sport : ct reply proto-src }}
  }}"""
