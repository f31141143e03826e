"""IPv6 prefixes that stand for IPv4 networks of numbered sites, and their names. No I/O.

    fd7a:115c:a1e0:0b1a    site       IPv4
    0                  8   8      12  12   16   octets

The site is 0 to 65535 (the field has room for more, which nobody gives out). In a name
it stands after the address: `10-0-0-1-via-7`. Source: protocol document 7.1.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

PREFIX = IPv6Network("fd7a:115c:a1e0:b1a::/64")
LAST_SITE = 65535
IPV4_AT = 96  # bits before the IPv4 address
_IPV4_BITS = 32
_NAME = re.compile(r"(\d{1,3}(?:-\d{1,3}){3})-via-(\d{1,5})", re.ASCII)


def via_prefix(site: int, network: IPv4Network) -> IPv6Network:
    """Return the prefix for a network of a site; raise `ValueError` for a site out of range."""
    if not 0 <= site <= LAST_SITE:
        raise ValueError(f"site {site} is not 0 to {LAST_SITE}")
    address = int(PREFIX.network_address) | site << _IPV4_BITS | int(network.network_address)
    return IPv6Network((address, IPV4_AT + network.prefixlen))


def read_prefix(prefix: IPv6Network) -> tuple[int, IPv4Network] | None:
    """Return site and network of a prefix, None for one that stands for no IPv4 network."""
    if prefix.prefixlen < IPV4_AT or not prefix.subnet_of(PREFIX):
        return None
    host = int(prefix.network_address) - int(PREFIX.network_address)
    site, address = host >> _IPV4_BITS, host & 0xFFFFFFFF
    if site > LAST_SITE:
        return None
    return site, IPv4Network((address, prefix.prefixlen - IPV4_AT))


def via_name(site: int, address: IPv4Address) -> str:
    """Return the name under which an address of a site is known, without a domain."""
    return f"{str(address).replace('.', '-')}-via-{site}"


def read_name(label: str) -> IPv6Address | None:
    """Return the address that a name stands for, None if it is no such name."""
    match = _NAME.fullmatch(label.lower())
    if match is None or int(match[2]) > LAST_SITE:
        return None
    try:
        address = IPv4Address(match[1].replace("-", "."))
    except ValueError:
        return None
    return via_prefix(int(match[2]), IPv4Network(address)).network_address
