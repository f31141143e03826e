"""What all paths of this node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_outputs import Output


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """The node itself, as its paths see it. `own` are the addresses to tell in a call."""

    me: NodePublic
    random_bytes: Callable[[int], bytes]
    own: tuple[Endpoint, ...] = ()
    own_at: float = float("-inf")  # when they were last known to be right
    out: list[Output] = field(default_factory=list[Output])
