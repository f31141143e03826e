"""What a viewer is shown: the peers, and of each peer the routes that the viewer may use. Pure.

Viewers of equal rights are one `Group`, so that what they are sent is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

from gatepost.coordination.world import World
from gatepost.model.netmap import IPNetwork
from gatepost.policy.directory import Machines
from gatepost.policy.filters import Filter
from gatepost.policy.intervals import bits_of
from gatepost.policy.routing import routes_of
from gatepost.wire.netmap import FilterRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a viewer sees one node: the subnets behind it, and whether it may be an exit node.

    `has_ipv4` False: one of the two has no IPv4 in the mesh.
    """

    routes: tuple[IPNetwork, ...] = ()
    is_exit: bool = False
    has_ipv4: bool = True


PLAIN = Sight()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`visible` are the nodes that its viewers see, each viewer itself among them.

    `routes` are by the node that they lead through; `without_ipv4` are nodes.
    Filters are long, so they are made only when somebody must be sent one.
    `odd` are the nodes of which there is more to see than the node itself.
    """

    visible: Machines = 0
    routes: tuple[tuple[int, tuple[IPNetwork, ...]], ...] = ()
    exits: Machines = 0
    without_ipv4: Machines = 0
    odd: Machines = field(default=0, compare=False)
    filter_key: Hashable = ()
    filter: Callable[[], Filter] = field(default=dict[str, tuple[FilterRule, ...]], compare=False)
    routers: Mapping[int, tuple[IPNetwork, ...]] = field(
        default_factory=dict[int, tuple[IPNetwork, ...]], compare=False
    )

    def __hash__(self) -> int:
        """Count the routes only: there may be 10,000, and groups are looked up for each message."""
        counts = tuple((i, len(routes)) for i, routes in self.routes)
        return hash((self.visible, self.exits, self.without_ipv4, self.filter_key, counts))

    def sight(self, node_id: int) -> Sight:
        if not self.odd >> node_id & 1:
            return PLAIN
        return Sight(
            routes=self.routers.get(node_id, ()),
            is_exit=bool(self.exits >> node_id & 1),
            has_ipv4=not self.without_ipv4 >> node_id & 1,
        )

    def differs_in(self, other: Group) -> Machines:
        """Return the nodes that look different to viewers of the two groups."""
        found = (self.exits ^ other.exits) | (self.without_ipv4 ^ other.without_ipv4)
        if self.routes != other.routes:
            for node_id in self.routers.keys() | other.routers.keys():
                if self.routers.get(node_id) != other.routers.get(node_id):
                    found |= 1 << node_id
        return found


def group_of(world: World, viewer: int) -> Group:
    """Return what a viewer of the world may know; who has expired knows itself only."""
    own = 1 << viewer
    if world.nodes[viewer].presence.expired:
        return Group(visible=own)
    compiled = world.rights.compiled
    view = compiled.view(viewer)
    without_ipv4 = compiled.attributes.without_ipv4
    visible = view.peers | own
    routers = {
        node_id: tuple(world.spans[s] for s in spans)
        for node_id, spans in routes_of(view, world.order, visible).items()
    }
    accepts = world.nodes[viewer].record.accepts
    if not accepts.is_everything:
        chosen = ((i, tuple(filter(accepts.takes, routes))) for i, routes in routers.items())
        routers = {i: routes for i, routes in chosen if routes}
    without_ipv4 = visible if without_ipv4 & own else without_ipv4 & visible
    return Group(
        visible=visible,
        routes=tuple(sorted(routers.items())),
        exits=view.exits,
        without_ipv4=without_ipv4,
        odd=view.exits | without_ipv4 | bits_of(routers),
        filter_key=compiled.filter_key(viewer),
        filter=partial(compiled.filter, viewer),
        routers=routers,
    )
