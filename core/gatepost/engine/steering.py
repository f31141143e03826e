"""The packet rules that let WireGuard and path discovery share one UDP port.

    peers --UDP--> P (WireGuard) --disco, STUN--> Q (path service)
    Q ----------------------------------------> leaves with source port P
    WireGuard --127.64.0.0/10, port R--> path service --DERP--> ...
    ... --DERP--> path service --raw, marked, loopback only--> P

WireGuard (the kernel's or wireguard-go) owns P. Disco and STUN are told apart
by their first two bytes, then by their magic, so a WireGuard packet is never
taken for one: its first two bytes are 01..04 00. What a peer relay sends begins
with a Geneve header (00 00 or 00 80, then 7A 11 or 7A 12) and comes to the path
service too, unless a BPF program has taken the header off already. What the
path service sends leaves with P, so that a NAT on the way makes one mapping for
all of it.

Two forms, both proved by experiment (data path document, A):
- untracked: P leaves conntrack altogether, which is a microsecond a packet cheaper where
  connections are tracked anyway, as they are by our packet filter.
- with connection tracking, for a machine with a firewall or NAT of its own: conntrack
  and NAT see P only, so a firewall that lets tracked answers in does so for us, and where
  this machine masquerades for a LAN or with random ports, its NAT knows our flows.
Packets that are only forwarded through this machine are never touched: nodes
behind it use P as well.

Packets that come by DERP are injected on loopback with the source that
WireGuard shall see: the peer's trusted address, or its proxy address. So
WireGuard never roams away from a path that was chosen, and no rule has to know
any peer. They carry a mark of their own and are dropped anywhere but on loopback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from gatepost.model.kernel import PacketFilter
from gatepost.model.netmap import IPAddress
from gatepost.model.owned import (
    DISCO_PORT_OFFSET,
    INJECTION_MARK,
    MARK,
    NFT_PATH_TABLE,
    PROXY_PORT_OFFSET,
    WIREGUARD_PORT,
)

# A rule that rewrites a port turns the IPv4 checksum 0 ("none") into a wrong one,
# hence every rewrite has a twin. nft 1.0.6 wants the closing brace on a line of its own.
_TEXT = """\
table inet {table} {{
{here}\
	chain to_discovery {{
{ours}\
		udp checksum 0 {notrack}udp dport set {q} udp checksum set 0 accept
		{notrack}udp dport set {q} accept
	}}

	chain disco {{
		@th,64,48 0x5453f09f92ac goto to_discovery
	}}

	chain stun {{
		@th,96,32 0x2112a442 goto to_discovery
	}}

	chain relayed {{
		@th,80,16 {{ 0x7a11, 0x7a12 }} goto to_discovery
	}}

	chain guard {{
		type filter hook prerouting priority raw; policy accept;
		meta l4proto != udp accept
{data_in}\
		meta mark {injected:#x} iif "lo" notrack accept
		udp dport {q} drop
		udp dport {r} iif != "lo" drop
{steer}\
		udp dport {p} @th,64,16 vmap {{ 0x5453 : jump disco, 0x0001 : jump stun, 0x0101 : jump stun, 0x0111 : jump stun, 0x0000 : jump relayed, 0x0080 : jump relayed }}
	}}

	chain leave {{
		type filter hook output priority raw; policy accept;
		meta l4proto != udp accept
{data_out}\
		meta mark {injected:#x} oif "lo" notrack accept
		meta mark {injected:#x} drop
		udp dport {r} oif "lo" notrack accept
{rest_out}\
		udp sport {q} udp checksum 0 {notrack}udp sport set {p} udp checksum set 0 accept
		udp sport {q} {notrack}udp sport set {p}
	}}
}}
"""  # noqa: E501  # nft 1.0.6 takes a map on one line only

_TRACKED = {
    "here": "",
    # Who forwards for others leaves their packets alone. That is asked of discovery's packets
    # only: the lookup is too dear for every packet of a tunnel.
    "ours": "\t\tfib daddr type != local accept\n",
    "notrack": "",
    "data_in": "",
    "steer": """\
	}

	chain steer {
		type filter hook prerouting priority -90; policy accept;
""",
    "data_out": "",
    "rest_out": "",
}
# The first rule of either chain is for WireGuard's data packets, nearly all that come and go.
# What else is not to be tracked must be ours, and that is looked up.
_UNTRACKED = {
    "ours": "",
    "notrack": "notrack ",
    "data_in": "\t\tudp dport {p} @th,64,8 4 jump data\n",
    "steer": """\
		udp dport {p} fib daddr type != local accept
		udp dport {p} notrack
""",
    "data_out": "\t\tudp sport {p} meta mark {mark:#x} notrack accept\n",
    "rest_out": "\t\tudp sport {p} notrack accept\n",
}


def steering_filter(
    port: int = WIREGUARD_PORT, here: Iterable[IPAddress] | None = None
) -> PacketFilter:
    """Return the rules for a WireGuard device on UDP `port`.

    `here` are this machine's addresses; with them, what goes to them and to that
    port is not tracked. An address that is missing costs its packets time, nothing else.
    """
    numbers = {
        "p": port,
        "q": port + DISCO_PORT_OFFSET,
        "r": port + PROXY_PORT_OFFSET,
        "mark": MARK,
    }
    parts = _TRACKED
    if here is not None:
        filled = {name: text.format(**numbers) for name, text in _UNTRACKED.items()}
        parts = {**filled, "here": "".join(f"\t{line}\n" for line in _here(frozenset(here)))}
    text = _TEXT.format(table=NFT_PATH_TABLE, injected=INJECTION_MARK, **numbers, **parts)
    return PacketFilter(NFT_PATH_TABLE, text)


def _here(addresses: frozenset[IPAddress]) -> Iterator[str]:
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        held = sorted(a.packed for a in addresses if a.version == version)
        yield f"set here{version} {{"
        yield f"\ttype {kind}; flags constant"
        if held:
            yield f"\telements = {{ {', '.join(str(ip_address(a)) for a in held)} }}"
        yield "}"
    yield "chain data {"
    yield "\tip daddr @here4 notrack accept"
    yield "\tip6 daddr @here6 notrack accept"
    yield "}"
