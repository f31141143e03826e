"""The default policy: everybody may reach everybody, and every approved subnet.

A policy answers two questions per viewer: which nodes it may see, and which
packets it lets in. Answers are grouped, so that what is equal for many viewers
is made once: two viewers of one group at one world get the same bytes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from gatepost.coordination.world import Node, World
from gatepost.wire.netmap import FilterRule, NetPortRange, PortRange

# The mesh without 100.115.92.0/23, as filters of the official service say it.
MESH_SOURCES = ("100.115.94.0-100.127.255.255", "100.64.0.0-100.115.91.255", "fd7a:115c:a1e0::/48")
ANY_PORT = PortRange(first=0, last=65535)


class Policy(Protocol):
    """What the mapper asks. All methods are pure."""

    def group(self, world: World, viewer: Node) -> Hashable:
        """Return what viewers of equal rights have in common."""
        ...

    def sees(self, world: World, group: Hashable, node: Node) -> bool:
        """Say whether viewers of a group may know of a node (other than themselves)."""
        ...

    def rules(self, world: World, group: Hashable) -> tuple[FilterRule, ...]:
        """Return what viewers of a group let in; () is nothing."""
        ...


class Everybody:
    """One group that sees all; expired nodes are in a group that sees nobody."""

    def group(self, world: World, viewer: Node) -> Hashable:  # noqa: ARG002  # the interface
        return "expired" if viewer.presence.expired else "everybody"

    def sees(self, world: World, group: Hashable, node: Node) -> bool:  # noqa: ARG002
        return group == "everybody"

    def rules(self, world: World, group: Hashable) -> tuple[FilterRule, ...]:
        """Let the mesh and the subnets behind it in, to wherever a node takes packets.

        Source: protocol document 6.2.
        """
        if group != "everybody":
            return ()
        sources = sorted((*MESH_SOURCES, *map(str, world.subnets)))
        anywhere = NetPortRange(ip="*", ports=ANY_PORT)
        return (FilterRule(src_ips=tuple(sources), dst_ports=(anywhere,)),)
