"""Everything on this machine that is ours, so that it can be told apart from everybody else's.

Removal touches only what carries one of these marks. Numbers that people know
from the field's most used client (routing table 52, rule priorities from
5210, the mark's mask) are kept, so that existing firewall rules keep working.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

DEVICE = "gatepost0"  # the WireGuard interface
ROUTE_TABLE = 52
PROVIDER_DEVICE = "gatepost-exit"  # the WireGuard interface of a provider that exits go out through
GUEST_DEVICE = "gatepost-guest"  # the WireGuard interface of machines with the stock app
TUNNEL_DEVICES = frozenset({PROVIDER_DEVICE, GUEST_DEVICE})  # whole tunnels beside the mesh
DEVICES = frozenset({DEVICE}) | TUNNEL_DEVICES
MAIN_TABLE = 254  # not ours: where the kernel keeps ordinary routes
ROUTE_PROTOCOL = 152  # rtm_protocol of our routes; unassigned in /etc/iproute2/rt_protos
RULE_PRIORITIES = range(5200, 5300)
EXIT_TABLE = 54  # where packets for the internet go when an exit node is used
PROVIDER_TABLE = 55  # where packets from the mesh for the internet go when a provider carries them
STAND_IN_TABLE = 53  # routes of what stands for places at peer relays
NARROW_TABLE = 56  # routes of WireGuard's packets to addresses that lose whole ones
NARROW_PRIORITY = 5255  # WireGuard's packets look into that table first
NARROW_MTU = 1280  # octets outside of the tunnel, that every path carries (RFC 8200, 5)
STAND_IN_PRIORITY = 5260  # what goes there looks into that table
ANSWER_PRIORITY = 5265  # answers to who came from elsewhere look into the main table first
MESH_PRIORITY = 5270  # what does not carry our mark looks into our table before the main one
PROVIDER_PRIORITY = 5274  # what came from the mesh looks into the provider's table
PROVIDER_DEVICE_PRIORITY = 5275  # so do sockets that are bound to the provider's device
EXIT_PRIORITIES = range(5280, 5300)  # what may go out through an exit node looks into its table
MARK = (
    0x80000  # packets of ours that must never enter the tunnel: WireGuard's, the server's, DERP's
)
MARK_MASK = 0xFF0000
MASQUERADE_MARK = 0x40000  # first packets from the mesh that leave under our own address
ANSWER_MARK = 0xA0000  # this machine's answers to who did not come through the mesh
EPOCH_MASK = 0xFF0000  # of a flow's conntrack mark: the epoch of the rules that admitted it
ELSEWHERE = 0xFF0000  # there, and no epoch: the flow came to this machine beside the mesh
TC_PRIORITIES = range(5200, 5300)  # of our BPF programs on devices
STAND_IN_PROGRAM_PRIORITY = 5220  # puts a relay's header on WireGuard's packets
RELAY_PRIORITY = 5210  # forwards for others; before the mesh's own packets are looked at
NFT_TABLE = "gatepost"  # family inet: packet filter, forwarding, masquerade
NFT_GUARD_TABLE = "gatepost-guard"  # family inet: lets nothing out beside an exit node
NFT_PROVIDER_TABLE = "gatepost-provider"  # family inet: lets exits out through a provider only
NFT_HELD_TABLE = "gatepost-held"  # family inet: packets kept from WireGuard; seldom there
NFT_NARROW_TABLE = "gatepost-narrow"  # family inet: small TCP to narrow peers; seldom there
NFT_PATH_TABLE = "gatepost-path"  # family inet: disco and STUN steering
NFT_TABLES = frozenset(
    {
        NFT_TABLE,
        NFT_GUARD_TABLE,
        NFT_PROVIDER_TABLE,
        NFT_HELD_TABLE,
        NFT_NARROW_TABLE,
        NFT_PATH_TABLE,
    }
)
SYSCTL_DIRECTORY = "gatepost"  # name of our file in sysctl.d, if any

WIREGUARD_PORT = 41641  # UDP, the port peers see
DISCO_PORT_OFFSET = 1  # the socket behind the steering rules listens on WIREGUARD_PORT + 1
PROXY_PORT_OFFSET = 2  # the loopback socket that stands for peers reached through DERP
PROVIDER_PORT = 41648  # UDP, from where a provider is spoken to unless its file names a port
PEER_RELAY_PORT = 41650  # UDP, what a relay for others offers unless told otherwise
PROXY_NETWORK = IPv4Network("127.64.0.0/10")  # one address of it per peer, with that port
# One address of it, with that port, stands for a place at a peer relay: WireGuard sends there, and
# a BPF program puts the relay's address and the Geneve header in its place.
RELAY_NETWORK = IPv4Network("198.18.0.0/15")
RELAY_NETWORK_V6 = IPv6Network("2001:2::/48")  # both are for benchmarks (RFC 2544, RFC 5180)
RELAY_PORT = 1
# What stands for a peer in a network behind 4via6, one address each: the mesh's own 22 bits, so
# nothing has to be kept or given out. Part of class E (RFC 1112, 4), which is in no site's network
# and never on the internet; the benchmarks' range has too few bits, and stand-ins live there.
ALIAS_NETWORK = IPv4Network("240.64.0.0/10")
VIA6_PRIORITY = 5230  # translates between IPv6 in the tunnel and IPv4 outside
TRANSLATION_ROOM = 8  # octets of MTU: IPv4 fragments grow so much beyond other packets in IPv6
INJECTION_MARK = 0x90000  # packets from DERP on their way to WireGuard; they never leave loopback
MTU = 1280  # octets inside the tunnel; fits every path that carries IPv6
