"""A network of a site that the mesh knows by other addresses, one for one."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar

from gatepost.model.resource import Resource


@dataclass(frozen=True, slots=True)
class Renumber(Resource):
    """Let the mesh know `inside` as `outside`, a prefix of the same length.

    Packets from the mesh to `outside` go on to the host with the same last bits of `inside`;
    what such a host sends into the mesh comes from `outside`. The policy speaks of `outside`.
    Nothing else may use `inside` because of this.
    """

    identity: ClassVar = ("outside",)
    outside: IPv4Network
    inside: IPv4Network

    def outer(self, address: IPv4Address) -> IPv4Address | None:
        """Return what the mesh calls a host of `inside`; None for every other address."""
        if address not in self.inside:
            return None
        last = int(address) - int(self.inside.network_address)
        return self.outside[last]
