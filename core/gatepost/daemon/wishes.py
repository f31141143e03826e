"""From the inputs to what should be true: asks the plugins, merges, lowers, and remembers.

When an input has changed, the plugins say everything anew; what follows from that is made
anew where it is not the same (`engine.merging`, `engine.lowering`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gatepost.daemon.inputs import Inputs
from gatepost.engine.lowering import Lowering
from gatepost.engine.merge import NOTHING, Desired
from gatepost.engine.merging import Merging
from gatepost.engine.plugins import Plugins
from gatepost.linux.wireguard_state import in_order
from gatepost.model.kernel import Route, Sysctl, TrafficProgram
from gatepost.model.mesh import Advertise, Announce
from gatepost.model.netmap import IPNetwork
from gatepost.model.observed import Observed, Watch
from gatepost.model.owned import DEVICE, GUEST_DEVICE, ROUTE_TABLE
from gatepost.model.peer_api import NAMES, AnswerPeers
from gatepost.model.process import WatchFirewalls, WatchLocalNetworks
from gatepost.model.resolver import WatchHostServers
from gatepost.model.resource import Resource

CORE = frozenset({"core"})  # owner of what the daemon itself wants
WATCHED: frozenset[Watch[Any]] = frozenset(
    {WatchLocalNetworks(), WatchFirewalls(), WatchHostServers()}
)  # asked by the daemon itself
_ROUNDS = 3  # times that answers may lead to new questions within one round


@dataclass(slots=True)
class Wishes:
    """What should be true now.

    `own` gives the resources of the daemon itself, wanted while the mesh is.
    `is_out` says that this node is known not to be in the mesh, in contrast to
    not known yet. `watch` answers new questions and says whether it did.
    """

    inputs: Inputs
    plugins: Plugins
    own: Callable[[Observed], tuple[Resource, ...]]
    is_out: Callable[[], bool]
    watch: Callable[[frozenset[Watch[Any]]], Awaitable[bool]]
    merged: Desired = NOTHING  # of the last round: what plugins want, in their nouns
    lowered: Desired = NOTHING  # of the last round: what the kernel shall hold
    _version: int = -1  # of the inputs, that `merged` follows from
    _lowered: int = -1  # the same of `lowered`
    _advertised: tuple[IPNetwork, ...] = ()
    _merging: Merging = field(default_factory=Merging)
    _lowering: Lowering = field(default_factory=Lowering)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def desire(self) -> Desired | None:
        """Return what the kernel shall hold; None while that is not known."""
        if self.inputs.wanted is None:  # wrong settings at the start are no reason to cut anybody
            return None
        if not self.inputs.wanted or (self.inputs.netmap is None and self.is_out()):
            self.merged = self.lowered = NOTHING
            self._merging.forget()
            self._version = self._lowered = -1
            return NOTHING
        if self.inputs.netmap is None:
            return None
        for _ in range(_ROUNDS):
            self._ask()
            if not await self.watch(self.merged.watches | WATCHED):
                break
        self._ask()
        return await self._lower()

    def switches(self) -> tuple[str, ...]:
        """Return the names of the kernel switches that are wanted."""
        return tuple(r.name for r in self.lowered.resources.values() if isinstance(r, Sysctl))

    def programs(self) -> tuple[TrafficProgram, ...]:
        """Return the programs that are wanted on devices."""
        return tuple(r for r in self.lowered.resources.values() if isinstance(r, TrafficProgram))

    def advertised(self) -> tuple[IPNetwork, ...]:
        """Return what is offered.

        The plugins are asked first, and while they cannot be, because there is no
        netmap, the last answer counts: else every start and every login would
        withdraw the routes for a moment, and traffic with them.
        """
        if self.inputs.wanted and self.inputs.netmap is not None:
            self._ask()
            found = (r.prefix for r in self.merged.resources.values() if isinstance(r, Advertise))
            self._advertised = tuple(sorted(found, key=lambda n: (n.version, n)))
        return self._advertised

    def announced(self) -> dict[str, str]:
        resources = tuple(self.merged.resources.values())
        facts = {r.name: r.value for r in resources if isinstance(r, Announce)}
        if any(isinstance(r, AnswerPeers) for r in resources):
            facts[NAMES] = "true"
        return facts

    def _ask(self) -> None:
        netmap = self.inputs.netmap
        if netmap is None or self._version == self.inputs.version:
            return
        self._version = self.inputs.version
        given = netmap, self.inputs.settings, self.inputs.observed
        self.merged = self._merging.merge(self.plugins.contributions(*given))

    async def _lower(self) -> Desired:
        """Return `merged` in the kernel's nouns.

        10,000 rules of the packet filter take 0.25 s, so that is done in a thread. What
        changes in the meantime pokes the reconciler again.
        """
        async with self._one:  # `plan` may ask while a round does
            version = self._version
            if self._lowered == version:
                return self.lowered
            own = self.own(self.inputs.observed)
            lowered = _with(await asyncio.to_thread(self._lowering.lower, self.merged), own)
            if self._version == version:
                self.lowered, self._lowered = lowered, version
            return lowered


def mesh_routes(resources: Iterable[Resource]) -> tuple[IPNetwork, ...]:
    """Return the networks that are routed into the mesh or to guests, in order."""
    return in_order(
        r.destination
        for r in resources
        if isinstance(r, Route) and r.table == ROUTE_TABLE and r.device in {DEVICE, GUEST_DEVICE}
    )


def _with(desired: Desired, own: tuple[Resource, ...]) -> Desired:
    return Desired(
        {**desired.resources, **{r.key: r for r in own}},
        {**desired.owners, **{r.key: CORE for r in own}},
        desired.watches,
        desired.notices,
    )
