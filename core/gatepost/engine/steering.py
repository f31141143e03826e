"""The packet rules that let WireGuard and path discovery share one UDP port.

    peers --UDP--> P (WireGuard) --disco, STUN--> Q (path service)
    Q ----------------------------------------> leaves with source port P
    WireGuard --127.64.0.0/10, port R--> path service --DERP--> ...
    ... --DERP--> path service --raw, marked, loopback only--> P

WireGuard (the kernel's or wireguard-go) owns P. Disco and STUN are told apart
by their first two bytes, then by their magic, so a WireGuard packet is never
taken for one: its first two bytes are 01..04 00. What the path service sends
leaves with P, so that a NAT on the way makes one mapping for all of it.

Two forms, both proved by experiment (data path document, A):
- with connection tracking, the default: conntrack and NAT see P only, so a
  foreign firewall that lets tracked answers in does so for us, and where this
  machine masquerades for a LAN or with random ports, its NAT knows our flows.
- without it: P leaves conntrack altogether, which is 0.4 microseconds a packet
  faster on a machine that tracks anyway. Right for a machine that neither
  masquerades nor has such a firewall: its NAT would give P to a node in the LAN
  and the answers to us.
Packets that are only forwarded through this machine are never touched: nodes
behind it use P as well.

Packets that come by DERP are injected on loopback with the source that
WireGuard shall see: the peer's trusted address, or its proxy address. So
WireGuard never roams away from a path that was chosen, and no rule has to know
any peer. They carry a mark of their own and are dropped anywhere but on loopback.
"""

from __future__ import annotations

from gatepost.model.kernel import PacketFilter
from gatepost.model.owned import (
    DISCO_PORT_OFFSET,
    INJECTION_MARK,
    NFT_PATH_TABLE,
    PROXY_PORT_OFFSET,
    WIREGUARD_PORT,
)

# A rule that rewrites a port turns the IPv4 checksum 0 ("none") into a wrong one,
# hence every rewrite has a twin. nft 1.0.6 wants the closing brace on a line of its own.
_TEXT = """\
table inet {table} {{
	chain to_discovery {{
{ours_here}		udp checksum 0 {notrack}udp dport set {q} udp checksum set 0 accept
		{notrack}udp dport set {q} accept
	}}

	chain disco {{
		@th,64,48 0x5453f09f92ac goto to_discovery
	}}

	chain stun {{
		@th,96,32 0x2112a442 goto to_discovery
	}}

	chain guard {{
		type filter hook prerouting priority raw; policy accept;
		meta mark {mark:#x} iif "lo" notrack accept
		udp dport {q} drop
		udp dport {r} iif != "lo" drop
{steer_head}\
{untracked_in}\
		udp dport {p} @th,64,16 vmap {{ 0x5453 : jump disco, 0x0001 : jump stun, 0x0101 : jump stun, 0x0111 : jump stun }}
	}}

	chain leave {{
		type filter hook output priority raw; policy accept;
		meta mark {mark:#x} oif "lo" notrack accept
		meta mark {mark:#x} drop
		udp dport {r} oif "lo" notrack accept
{untracked_out}\
		udp sport {q} udp checksum 0 {notrack}udp sport set {p} udp checksum set 0 accept
		udp sport {q} {notrack}udp sport set {p}
	}}
}}
"""  # noqa: E501  # nft 1.0.6 takes a map on one line only

_STEER_HEAD = """\
	}

	chain steer {
		type filter hook prerouting priority -90; policy accept;
"""
# Who forwards for others leaves their packets alone. That is asked of discovery's packets only:
# the lookup is too dear for every packet of a tunnel.
_OURS_HERE = "\t\tfib daddr type != local accept\n"
# What is not tracked any more must be ours, so here it is asked first. The second rule spares
# WireGuard's own data packets the two lookups below it.
_UNTRACKED_IN = """\
		udp dport {p} fib daddr type != local accept
		udp dport {p} notrack @th,64,8 4 accept
"""
_UNTRACKED_OUT = "\t\tudp sport {p} notrack accept\n"


def steering_filter(port: int = WIREGUARD_PORT, *, conntrack: bool = True) -> PacketFilter:
    """Return the rules for a WireGuard device on UDP `port`; see the module for `conntrack`."""
    text = _TEXT.format(
        table=NFT_PATH_TABLE,
        p=port,
        q=port + DISCO_PORT_OFFSET,
        r=port + PROXY_PORT_OFFSET,
        mark=INJECTION_MARK,
        notrack="" if conntrack else "notrack ",
        ours_here=_OURS_HERE if conntrack else "",
        untracked_in="" if conntrack else _UNTRACKED_IN.format(p=port),
        untracked_out="" if conntrack else _UNTRACKED_OUT.format(p=port),
        steer_head=_STEER_HEAD if conntrack else "",
    )
    return PacketFilter(NFT_PATH_TABLE, text)
