"""Tells zebra, and so OSPF, which networks the mesh carries, without routing anything by it.

The mesh's routes are in a table of their own, which packets of ours that must never enter
the tunnel do not look into. OSPF announces only what zebra has as a route of the main table,
and there those packets would find it (so does `ip import-table`, which copies them there).
Hence a route for an old TOS value with all four bits, which no packet carries: the kernel
never takes it, and zebra 8.4 does not look at TOS. Seen with FRR 8.4 only; one that does
look would announce nothing. IPv4 only, as is OSPFv2.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from ipaddress import IPv4Network

import msgspec

from gatepost.linux.commands import run_command
from gatepost.model.netmap import IPNetwork
from gatepost.model.owned import DEVICE, ROUTE_PROTOCOL

TOS = 0x1C  # RFC 1349 forbids all bits at once
TIMEOUT = 10.0  # seconds
_WORDS = 300  # characters of a complaint


class _Route(msgspec.Struct, frozen=True):
    dst: str = ""
    dev: str = ""
    tos: str = ""


async def keep_signs(networks: Iterable[IPNetwork]) -> None:
    """Have a sign for exactly these IPv4 networks; raise `OSError`."""
    wanted = {n for n in networks if isinstance(n, IPv4Network)}
    there = await _read()
    lines = [f"route delete {_text(n)}" for n in sorted(there - wanted)]
    lines += [f"route replace {_text(n)} dev {DEVICE}" for n in sorted(wanted - there)]
    if lines:
        await _ip("-batch", "-", script="\n".join(lines) + "\n")


def _text(network: IPv4Network) -> str:
    return f"{network} tos {TOS:#x} proto {ROUTE_PROTOCOL}"


async def _read() -> set[IPv4Network]:
    answer = await _ip(
        "-json", "-4", "route", "show", "table", "main", "proto", str(ROUTE_PROTOCOL)
    )
    routes = msgspec.json.decode(answer or "[]", type=list[_Route])
    return {IPv4Network(r.dst) for r in routes if r.dev == DEVICE and r.tos}


async def _ip(*arguments: str, script: str = "") -> str:
    done = await run_command("ip", *arguments, script=script, limit=TIMEOUT)
    if done.code:
        raise OSError(errno.EIO, f"ip {arguments[0]}: {done.complaint[:_WORDS]}")
    return done.output
