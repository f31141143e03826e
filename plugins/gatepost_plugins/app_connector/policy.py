"""What the mesh's policy says about apps: the capability `tailscale.com/app-connectors`.

    [{"name": "wiki", "connectors": ["tag:connector"],
      "domains": ["wiki.example", "*.wiki.example"], "routes": ["192.0.2.0/24"]}]

Source: protocol document 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

import msgspec

from gatepost.api import IPNetwork, Node

CAPABILITY = "tailscale.com/app-connectors"
EVERYBODY = "*"  # in place of tags


class _App(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    connectors: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None


@dataclass(slots=True)
class Apps:
    """What this node shall carry; `problems` are what could not be read."""

    domains: list[str] = field(default_factory=list[str])
    routes: list[IPNetwork] = field(default_factory=list[IPNetwork])
    problems: list[str] = field(default_factory=list[str])


def apps_of(node: Node) -> Apps:
    """Return what the policy wants of a node, by its tags."""
    apps = Apps()
    for text in node.capabilities.get(CAPABILITY, ()):
        try:
            app = msgspec.json.decode(text, type=_App)
        except msgspec.MsgspecError as error:
            apps.problems.append(f"the policy's {CAPABILITY} has {text}: {error}")
            continue
        connectors = app.connectors or ()
        if EVERYBODY in connectors or any(tag in connectors for tag in node.tags):
            apps.domains += app.domains or ()
            for route in app.routes or ():
                _add(route, app.name, apps)
    return apps


def _add(route: str, name: str, apps: Apps) -> None:
    try:
        apps.routes.append(ip_network(route))
    except ValueError as error:
        apps.problems.append(f"app {name}: {route!r} is not a network: {error}")
