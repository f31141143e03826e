"""Sees whether this machine has a firewall or NAT beside ours. Reads only.

It matters for WireGuard's own packets: a firewall that lets answers in by conntrack's
state, and a NAT that hands out ports, must see them in conntrack; else they need not
be there (data path document, A).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import DUMP, Message, Request, read_attributes, read_text
from gatepost.model.owned import NFT_TABLES

GET_CHAINS = (10 << 8) | 4  # nfnetlink subsystem nftables, NFT_MSG_GETCHAIN
_TABLE, _NAME, _HOOK, _TYPE = 1, 3, 4, 7  # NFTA_CHAIN_*; only base chains have a hook
_HOOK_NUMBER = 1  # NFTA_HOOK_HOOKNUM: u32, big endian
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}  # bridge, netdev and arp see no connections
_PASSING = {2, 4}  # hooks forward and postrouting: a filter there does not meet what is ours
LEGACY = ("ip_tables_names", "ip6_tables_names")
PROC = Path("/proc/thread-self/net")


async def other_firewalls(netlink: Netlink, proc: Path = PROC) -> tuple[str, ...]:
    """Return what was found, in words, sorted; empty when there is nothing beside ours."""
    request = Request(GET_CHAINS, DUMP, bytes(4), "nftables chains")
    messages, legacy = await netlink.run(
        lambda: (netlink.netfilter.ask(request), tuple(_legacy(proc)))
    )
    found = {words for m in messages if (words := _judge(m)) is not None}
    return tuple(sorted(found | set(legacy)))


def _judge(message: Message) -> str | None:
    """Return the chain's name if it may look at the state of our packets or give them ports."""
    family = _FAMILIES.get(message.body[0])
    attributes = dict(read_attributes(message.body, 4))
    if family is None or _HOOK not in attributes:
        return None
    table, chain = read_text(attributes[_TABLE]), read_text(attributes[_NAME])
    if family == "inet" and table in NFT_TABLES:
        return None
    hook = int.from_bytes(dict(read_attributes(attributes[_HOOK]))[_HOOK_NUMBER], "big")
    if read_text(attributes[_TYPE]) != "nat" and hook in _PASSING:
        return None
    return f"nftables chain {family} {table} {chain}"


def _legacy(proc: Path) -> Iterator[str]:
    """Read which tables the old iptables has in the kernel; most machines have no such file."""
    for name in LEGACY:
        try:
            tables = (proc / name).read_text("ascii").split()
        except FileNotFoundError:
            continue
        program = "ip6tables" if name.startswith("ip6") else "iptables"
        yield from (f"{program} table {table}" for table in tables)
