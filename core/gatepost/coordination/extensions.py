"""Asks the plugins' `coordinate` hook what a node should be told beside the rest of its map."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from ipaddress import ip_network

from gatepost.coordination.settings import Settings
from gatepost.coordination.times import wire_time
from gatepost.coordination.world import Node, World
from gatepost.engine.plugins import Coordinator, Plugins, find_plugins
from gatepost.engine.settings import read_settings
from gatepost.errors import SettingsError
from gatepost.hookspecs import MapItem
from gatepost.model import netmap
from gatepost.model.netmap import IPNetwork

log = logging.getLogger(__name__)


class Extensions:
    """Calls the plugins one by one; `settings` has the settings of each plugin."""

    def __init__(
        self,
        coordinators: Mapping[str, Coordinator],
        settings: Mapping[str, object],
        domain: str,
    ) -> None:
        self._coordinators = coordinators
        self._settings = settings
        self._domain = domain
        self._nodes: tuple[int, tuple[netmap.Node, ...]] = (-1, ())

    def items(self, world: World, node: Node) -> Iterable[MapItem]:
        """Return what the plugins say about a node; one that fails says nothing, and is logged."""
        if not self._coordinators:
            return ()
        if self._nodes[0] != world.generation:
            everybody = tuple(_node(n, self._domain) for n in world.nodes.values())
            self._nodes = world.generation, everybody
        own = _node(node, self._domain)
        found: list[MapItem] = []
        for name, coordinator in self._coordinators.items():
            try:
                found += coordinator(own, self._nodes[1], self._settings[name])
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a stranger's code
                log.error("plugin %s failed to coordinate %s: %r", name, own.name, error)  # noqa: TRY400  # a stranger's traceback says nothing here
        return found


def load_extensions(points: Iterable[EntryPoint], settings: Settings) -> Extensions:
    """Load the plugins that the settings enable; raise `SettingsError` for one that cannot be."""
    found = find_plugins(points)
    plugins = Plugins()
    values: dict[str, object] = {}
    for name, table in settings.plugins.items():
        if name not in found:
            raise SettingsError(f"plugins.{name}: no such plugin; there are {', '.join(found)}")
        try:
            plugins.add(name, found[name].load())
        except (Exception, SystemExit) as error:  # a stranger's code may fail in any way
            raise SettingsError(f"plugins.{name} cannot be loaded: {error!r}") from error
        values[name] = read_settings(plugins.info()[name].settings, table, name)
    return Extensions(plugins.coordinators(), values, settings.domain)


def _node(node: Node, domain: str) -> netmap.Node:
    record, report = node.record, node.report
    own: tuple[IPNetwork, ...] = tuple(ip_network(a) for a in record.addresses)
    return netmap.Node(
        id=record.id,
        key=record.key,
        name=f"{record.label}.{domain}",
        addresses=record.addresses,
        allowed=own + node.routes,
        disco=report.disco,
        home_derp=report.home_derp,
        user=record.user_id,
        tags=record.tags,
        online=node.presence.online,
        last_seen=wire_time(report.last_seen),
        key_expiry=wire_time(record.key_expiry),
        expired=node.presence.expired,
        capability_version=report.version,
        operating_system=report.hostinfo.os,
    )
