"""Writes the nftables text that lets nothing out beside the mesh. No I/O.

    output   this machine's own packets: loopback, the mesh, what carries our mark (WireGuard,
             DERP, the coordination server), what a link needs, and where it was spared;
             there only some name servers are asked for names
    forward  from the networks behind this machine: the mesh, and where it was spared

Routes alone would do while all goes well. This holds also while routes change, when the
device is gone, and from boot on, before there is a daemon.
"""

from __future__ import annotations

from ipaddress import ip_network

from gatepost.engine.nft_text import address_set, spans_of
from gatepost.model.kernel import OnlyThroughMesh
from gatepost.model.owned import MARK, MARK_MASK, NFT_GUARD_TABLE

_NAMES = "meta l4proto { tcp, udp } th dport { 53, 853 }"  # DNS, DNS over TLS and over QUIC
_LINK = """\
		udp sport 68 udp dport 67 accept
		udp sport 546 udp dport 547 accept
		ip daddr 224.0.0.0/24 accept
		ip6 daddr { fe80::/10, ff02::/16 } accept
"""


def guard_text(wish: OnlyThroughMesh) -> str:
    """Return the whole table in nft's language; equal wishes give equal text."""
    lines = [f"table inet {NFT_GUARD_TABLE} {{"]
    asked = [ip_network(address) for address in wish.asked]
    for version in (4, 6):
        for name, networks in (("spared", wish.spared), ("behind", wish.behind), ("asked", asked)):
            lines += address_set(f"{name}{version}", version, spans_of(networks, version))
    lines += [
        "\tchain names {",
        "\t\tip daddr != @asked4 counter drop",
        "\t\tip6 daddr != @asked6 counter drop",
        "\t}",
        "\tchain leave {",
        "\t\ttype filter hook output priority filter; policy accept;",
        '\t\toif "lo" accept',
        f'\t\toifname "{wish.device}" accept',
        f"\t\tmeta mark & 0x{MARK_MASK:08x} == 0x{MARK:08x} accept",
        f"\t\t{_NAMES} jump names",
        "\t\tip daddr @spared4 accept",
        "\t\tip6 daddr @spared6 accept",
        _LINK.rstrip("\n"),
        "\t\tcounter drop",
        "\t}",
        "\tchain through {",
        "\t\ttype filter hook forward priority filter; policy accept;",
        f'\t\toifname "{wish.device}" accept',
        f"\t\tip saddr @behind4 {_NAMES} jump names",
        f"\t\tip6 saddr @behind6 {_NAMES} jump names",
        "\t\tip saddr @behind4 ip daddr != @spared4 counter drop",
        "\t\tip6 saddr @behind6 ip6 daddr != @spared6 counter drop",
        "\t}",
        "}",
        "",
    ]
    return "\n".join(lines)
