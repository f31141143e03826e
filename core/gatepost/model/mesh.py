"""Resources that other machines of the mesh see: routes and announcements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import IPNetwork
from gatepost.model.resource import Merge, Resource


@dataclass(frozen=True, slots=True)
class Advertise(Resource):
    """Offer to carry traffic for a prefix."""

    identity: ClassVar = ("prefix",)
    merge: ClassVar = Merge.UNION
    prefix: IPNetwork


@dataclass(frozen=True, slots=True)
class Announce(Resource):
    """Tell the coordination server one fact about this node."""

    identity: ClassVar = ("name",)
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class AllowedPrefix(Resource):
    """Let a peer send from, and receive for, a prefix (WireGuard AllowedIPs)."""

    identity: ClassVar = ("prefix",)
    prefix: IPNetwork
    peer: NodePublic
