"""Reads which addresses a DHCP server on this machine gives out, from its configuration.

Source: the manual pages dnsmasq(8), systemd.network(5), and Kea's reference (`subnet4`).
What cannot be read or understood is left out: it is a hint for people, nothing stands on it.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path
from typing import Any, cast

from gatepost.model.surroundings import Lease

LARGEST = 1 << 20  # octets of a file
_FIRST_OFFSET = 1  # systemd-networkd leaves out the address of the network itself
_RANGE = re.compile(r"^\s*dhcp-range\s*=\s*(.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(//|#).*$", re.MULTILINE)


def read_leases(root: Path = Path("/")) -> tuple[Lease, ...]:
    """Return what dnsmasq, systemd-networkd and Kea are told to give out; waits for the disk."""
    found = [
        *_all(root, ("etc/dnsmasq.conf", "etc/dnsmasq.d/*.conf"), dnsmasq_leases),
        *_all(root, ("etc/systemd/network/*.network",), networkd_leases),
        *_all(root, ("etc/kea/kea-dhcp4.conf",), kea_leases),
    ]
    return tuple(dict.fromkeys(found))


def dnsmasq_leases(text: str) -> Iterator[Lease]:
    """Read `dhcp-range=[tag:x,]first,last[,…]`."""
    for match in _RANGE.finditer(text):
        addresses = [a for word in match[1].split(",") if (a := _address(word)) is not None]
        if len(addresses) > 1 and addresses[0] <= addresses[1]:
            yield Lease(first=addresses[0], last=addresses[1], program="dnsmasq")


def networkd_leases(text: str) -> Iterator[Lease]:
    """Read `DHCPServer=yes` with the pool of `[DHCPServer]` (by default all of the network)."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read_string(text)
        if not parser.getboolean("Network", "DHCPServer", fallback=False):
            return
        own = ip_interface(parser.get("Network", "Address", fallback=""))
        offset = parser.getint("DHCPServer", "PoolOffset", fallback=0) or _FIRST_OFFSET
        size = parser.getint("DHCPServer", "PoolSize", fallback=0)
    except (configparser.Error, ValueError):
        return
    if isinstance(own, IPv4Interface):
        count = size or own.network.num_addresses - 1 - offset  # but for the broadcast address
        if offset > 0 and count > 0 and offset + count <= own.network.num_addresses:
            first = own.network[offset]
            yield Lease(first=first, last=first + count - 1, program="systemd-networkd")


def kea_leases(text: str) -> Iterator[Lease]:
    """Read `pools` of each `subnet4`; comments are taken out where they are whole lines."""
    try:
        document: Any = json.loads(_COMMENT.sub("", text))  # any JSON
    except ValueError:
        return
    for pool in _pools(document):
        first, _, last = str(pool).partition("-")
        begin, end = _address(first), _address(last)
        if begin is not None and end is not None and begin <= end:
            yield Lease(first=begin, last=end, program="kea")


def _pools(document: object) -> Iterator[object]:
    """Yield the texts of all pools, at whatever depth."""
    if isinstance(document, list):
        for item in cast(list[object], document):
            yield from _pools(item)
    elif isinstance(document, dict):
        for key, value in cast(dict[str, object], document).items():
            if key == "pool":
                yield value
            else:
                yield from _pools(value)


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text.strip())
    except ValueError:
        return None


def _all(
    root: Path, patterns: tuple[str, ...], read: Callable[[str], Iterator[Lease]]
) -> Iterator[Lease]:
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            try:
                with path.open(encoding="utf-8", errors="replace") as file:
                    text = file.read(LARGEST)
            except OSError:
                continue  # not for us, or gone again
            yield from read(text)
