"""Bring some addresses' WireGuard packets to path discovery instead of to WireGuard.

WireGuard moves a peer's endpoint to wherever the peer's last packet came from.
That is wrong where our packets do not come through to that address, and no
rule can change the sender of a packet so that WireGuard answers to the proxy: it
remembers the interface as well. So those packets take the way that packets
from DERP take, by user space and loopback.

The table exists only while there is such an address, and its elements expire by
themselves should the daemon be killed. It is none of `linux.filters`: it
follows packets, not wishes.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.linux.nft import PROGRAM, run_nft
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import DISCO_PORT_OFFSET, NFT_HELD_TABLE, WIREGUARD_PORT

EXPIRY = 10  # seconds; who still wants an element sets it again before

# After conntrack and after the steering rules of either form (`engine.steering`), which refuse
# what comes for {q} from outside. An IPv4 checksum of 0 has a twin for the reason given there.
_TEXT = """\
table inet {table} {{
	set from4 {{
		type ipv4_addr . inet_service; flags timeout; timeout {expiry}s
{elements4}	}}
	set from6 {{
		type ipv6_addr . inet_service; flags timeout; timeout {expiry}s
{elements6}	}}
	chain hold {{
		type filter hook prerouting priority -89; policy accept;
		udp dport != {p} accept
		fib daddr type != local accept
		ip saddr . udp sport @from4 udp checksum 0 udp dport set {q} udp checksum set 0 accept
		ip saddr . udp sport @from4 udp dport set {q}
		ip6 saddr . udp sport @from6 udp dport set {q}
	}}
}}
"""


def held_text(endpoints: Iterable[Endpoint], port: int) -> str:
    """Return the script that holds what comes to `port` from these addresses and no others."""
    known = sorted(endpoints, key=lambda e: (e.address.version, e.address.packed, e.port))
    script = f"add table inet {NFT_HELD_TABLE}\ndelete table inet {NFT_HELD_TABLE}\n"
    if not known:
        return script
    return script + _TEXT.format(
        table=NFT_HELD_TABLE,
        p=port,
        q=port + DISCO_PORT_OFFSET,
        expiry=EXPIRY,
        elements4=_elements(known, 4),
        elements6=_elements(known, 6),
    )


def _elements(endpoints: Iterable[Endpoint], version: int) -> str:
    pairs = ", ".join(f"{e.address} . {e.port}" for e in endpoints if e.address.version == version)
    return f"\t\telements = {{ {pairs} }}\n" if pairs else ""


class HeldAddresses:
    """Owns the table of a WireGuard device on UDP `port`."""

    def __init__(self, port: int = WIREGUARD_PORT, program: str = PROGRAM) -> None:
        self._port = port
        self._program = program

    async def hold(self, endpoints: Iterable[Endpoint]) -> None:
        """Hold what comes from these addresses and no others; raise `OSError` in nft's words."""
        script = held_text(endpoints, self._port)
        await run_nft(script, "-f", "-", program=self._program)
