"""The running node: its parts, and the few wires between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from gatepost.daemon.carriers import Carriers
from gatepost.daemon.control import Control
from gatepost.daemon.hostinfo import Announcement
from gatepost.daemon.in_force import InForce
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.keeper import Keeper
from gatepost.daemon.names import BoxNames
from gatepost.daemon.observer import Observer
from gatepost.daemon.peer_api import PeerApiService
from gatepost.daemon.reconciler import Reconciler
from gatepost.daemon.relay_use import RelayUse
from gatepost.daemon.relaying import Relaying
from gatepost.daemon.services import Services
from gatepost.daemon.wishes import WATCHED, Wishes, mesh_routes
from gatepost.linux.monitor import Monitor, Topic
from gatepost.model.attributes import NO_UPNP
from gatepost.model.netmap import NetworkFacts
from gatepost.model.process import LocalNetworks, WatchLocalNetworks, WatchMeshRoutes
from gatepost.model.resource import Notice
from gatepost.net.notify import Notifier
from gatepost.net.portmap import PortMapping
from gatepost.net.tasks import Tasks

log = logging.getLogger(__name__)

FOREVER = 3600.0  # seconds between looks at a watchdog that is not wanted


@dataclass(slots=True, kw_only=True)
class Node:
    """Everything that runs. `main.build` makes it."""

    inputs: Inputs
    in_force: InForce
    keeper: Keeper
    control: Control
    observer: Observer
    wishes: Wishes
    reconciler: Reconciler
    carriers: Carriers
    port_mapping: PortMapping
    services: Services
    relaying: Relaying
    relay_use: RelayUse
    names: BoxNames
    peer_api: PeerApiService
    route_writer: int  # port of the netlink socket that writes our routes
    _tasks: Tasks = field(default_factory=Tasks)
    _attached: LocalNetworks | None = None
    _is_steered: bool = False  # by the rules of the first round

    async def run(self, stopped: asyncio.Event, notifier: Notifier) -> None:
        """Work until `stopped`, then leave the data plane as it is."""
        await self.observer.watch(WATCHED)
        self.inputs.on_change(self._on_inputs)
        self.keeper.on_identity(self._on_inputs)
        await self.control.start()
        self._on_inputs()
        with Monitor(self._on_kernel, self.route_writer):
            try:
                async with asyncio.TaskGroup() as group:
                    running = [
                        group.create_task(self.observer.run(), name="observer"),
                        group.create_task(self.reconciler.run(), name="reconciler"),
                        group.create_task(self.control.run(), name="control"),
                        group.create_task(self.names.watch_host(self._on_host), name="names"),
                        group.create_task(_keep_alive(notifier), name="watchdog"),
                    ]
                    notifier.ready()
                    log.info("ready")
                    await stopped.wait()
                    notifier.stopping()
                    for task in running:
                        task.cancel()
            finally:
                await self._tasks.close()

    def reload(self) -> None:
        """Read the settings again, as SIGHUP asks."""
        self._tasks.spawn(self.in_force.reload(), "reload the settings")

    def announcement(self) -> Announcement:
        """Return what the others should know about this node."""
        return Announcement(
            hostname=self.in_force.box.node.hostname,
            tags=self.in_force.box.node.advertise_tags,
            routes=self.wishes.advertised(),
            endpoints=self.carriers.endpoints(),
            home_derp=self.carriers.home,
            network=self.network(),
            facts=self.wishes.announced(),
        )

    def network(self) -> NetworkFacts:
        """Return what is known of the network around this box."""
        report, seen = self.carriers.surveyed, self.port_mapping.seen()
        is_asked = self.port_mapping.in_use and seen is not None and not self._is_public()
        return NetworkFacts(
            udp=report.udp if report else None,
            ipv6=bool(report.seen_v6) if report else None,
            varies=report.varies if report else None,
            mapping=bool(self.port_mapping.mappings()) if is_asked else None,
        )

    def _is_public(self) -> bool:
        """Say whether there is no NAT for IPv4: STUN servers see an address of this machine."""
        report = self.carriers.surveyed
        local = {e.endpoint.address for e in self.carriers.endpoints() if e.kind == "local"}
        return bool(report and report.seen_v4 and {e.address for e in report.seen_v4} <= local)

    def notices(self) -> tuple[Notice, ...]:
        """Return everything that the operator should read."""
        sources: Iterable[tuple[Notice, ...]] = (
            self.in_force.notices(),
            self.keeper.notices(),
            self.control.standing.notices(),
            self.observer.notices(),
            self.carriers.notices(),
            self.services.notices(),
            self.relaying.notices(),
            self.relay_use.notices(),
            self.peer_api.notices(),
            self.reconciler.notices,
            self.wishes.lowered.notices,
        )
        return tuple(notice for source in sources for notice in source)

    # --- wires ------------------------------------------------------------------------
    def _on_inputs(self) -> None:
        """Carry packets for whoever we are now, and look what follows from what changed."""
        node = self.keeper.identity.node if self.inputs.wanted else None
        self.carriers.use(node, self.inputs.netmap)
        self._is_steered = self._is_steered and node is not None
        self.relaying.set_netmap(self.inputs.netmap)
        self.relay_use.set_netmap(self.inputs.netmap)
        self.peer_api.set_netmap(self.inputs.netmap)
        self.map_port()
        attached = self.inputs.observed.get(WatchLocalNetworks(), LocalNetworks())
        if attached != self._attached:
            self._attached = attached
            self.carriers.poke()
            self.relaying.poke()
            self.relay_use.poke()
        self.reconciler.poke()

    def map_port(self) -> None:
        """Keep our port mapped while the mesh is up and the settings ask for it."""
        is_up = bool(self.inputs.wanted and self.keeper.identity.node)
        netmap = self.inputs.netmap
        on = is_up and self.in_force.box.node.port_mapping
        upnp = netmap is None or NO_UPNP not in netmap.me.capabilities
        self.port_mapping.use(on=on, upnp=upnp)
        self.relaying.mapping.use(on=on, upnp=upnp)
        self.tell_endpoints()

    def tell_endpoints(self) -> None:
        """Tell peers the endpoints that the router mapped and those that the operator set."""
        static = self.in_force.box.node.own_endpoints()
        self.carriers.set_own(mapped=self.port_mapping.endpoints(), static=static)

    def _on_host(self) -> None:
        self.reconciler.drifted()
        self.observer.poke()

    def _on_kernel(self, topics: frozenset[Topic]) -> None:
        self.reconciler.drifted(topics)
        self.observer.poke()

    async def after_round(self) -> None:
        """Do what follows from a round beside the kernel: services, and news for the others."""
        netmap = self.inputs.netmap
        if netmap is not None and not self._is_steered:
            self._is_steered = True
            self.carriers.survey_again()
        resources = self.wishes.lowered.resources.values()
        if WatchMeshRoutes() in self.wishes.merged.watches:
            self.inputs.answer_one(WatchMeshRoutes(), mesh_routes(resources))
        self.names.replace(resources)
        await self.services.replace(resources, netmap.me.addresses if netmap else ())
        self.relaying.replace(resources)
        self.peer_api.replace(resources, netmap.me.addresses if netmap else ())
        self.control.announce()


async def _keep_alive(notifier: Notifier) -> None:
    """Tell systemd's watchdog that the event loop turns."""
    while True:
        notifier.alive()
        await asyncio.sleep(notifier.watchdog_interval or FOREVER)
