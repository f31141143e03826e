"""Machines that speak plain WireGuard with this box, and are in the mesh through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.model.keys import NodePrivate
from gatepost.model.netmap import IPNetwork
from gatepost.model.observed import Watch
from gatepost.model.resource import Resource


@dataclass(frozen=True, slots=True)
class Guests(Resource):
    """Judge what comes from and goes to the machines behind a device as if it were the mesh's.

    They have addresses of `networks`, which nobody else may use as a sender. The rules decide
    what they reach at this site and who reaches them; what they send into the mesh is judged
    where it arrives, like everything that comes from there.
    """

    identity: ClassVar = ("device",)
    device: str
    networks: frozenset[IPNetwork]


@dataclass(frozen=True, slots=True)
class WatchTunnelKey(Watch[NodePrivate | None]):
    """A WireGuard key of this box for one purpose, made at the first question and kept sealed.

    `purpose` is of small letters and dashes. None while it cannot be read.
    """

    purpose: str
