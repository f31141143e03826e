"""A router in the LAN by which this machine reaches the internet."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True, slots=True)
class Gateway:
    """The next hop of a default route, our own address towards it, and the interface."""

    address: IPv4Address
    local: IPv4Address
    device: str = ""
