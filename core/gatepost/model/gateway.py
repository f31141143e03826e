"""A router in the LAN by which this machine reaches the internet."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

_PRIVATE = (  # RFC 1918
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The next hop of a default route, our own address towards it, and the interface."""

    address: IPv4Address
    local: IPv4Address
    device: str = ""

    @property
    def is_home(self) -> bool:
        """Say whether it is a router as people have at home, which translates our address.

        Nobody else's is asked to open ports: a provider's router would neither
        answer nor like to be asked, and whoever has a public address needs none.
        """
        return all(any(a in n for n in _PRIVATE) for a in (self.address, self.local))


@dataclass(frozen=True, slots=True)
class Gateway6:
    """The same for IPv6: it translates nothing, but its firewall may keep peers away.

    `address` is link-local as a rule, and means something on `device` only. `local` is global.
    """

    address: IPv6Address
    local: IPv6Address
    device: str = ""


AnyGateway = Gateway | Gateway6
