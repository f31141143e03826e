"""Where each flag of `gatepost up` and `gatepost set` lives in the settings file, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from gatepost.daemon.settings_file import BoxSettings, Edit
from gatepost.engine.settings import Plain
from gatepost.model.status import UpRequest

ROUTER = "subnet-router"  # the plugin behind --advertise-routes and --snat-subnet-routes
RELAY = "peer-relay"  # the plugin behind --relay-server-port
EXIT = "exit-node"  # the plugin behind --exit-node and --advertise-exit-node
CONNECTOR = "app-connector"  # the plugin behind --advertise-connector
NAMES = "magic-dns"  # the plugin behind --accept-dns
MESH = "mesh"  # the plugin behind --accept-routes

Values = Callable[[str], Mapping[str, object]]  # a plugin's name to its settings in force


def flags_of(box: BoxSettings, values: Values) -> UpRequest:
    """Return every flag as it is in force."""
    mesh, router, relay, exits = (values(name) for name in (MESH, ROUTER, RELAY, EXIT))
    is_relay, may_exit = RELAY in box.enabled, EXIT in box.enabled
    return UpRequest(
        login_server=box.node.login_server,
        hostname=box.node.hostname,
        accept_routes=bool(mesh["accept-routes"]),
        accept_routes_only=_texts(mesh["accept-only"]),
        accept_routes_except=_texts(mesh["accept-except"]),
        accept_dns=NAMES in box.enabled and bool(values(NAMES)["accept-dns"]),
        advertise_routes=_texts(router["networks"]) if ROUTER in box.enabled else (),
        advertise_tags=box.node.advertise_tags,
        snat_subnet_routes=bool(router["masquerade"]),
        relay_server_port=cast(int, relay["port"]) if is_relay else None,  # as the plugin says
        relay_server_static_endpoints=_texts(relay["static-endpoints"]) if is_relay else None,
        advertise_exit_node=bool(exits["offer"]) and may_exit,
        advertise_connector=CONNECTOR in box.enabled,
        exit_node=str(exits["use"]) if may_exit else "",
        exit_node_allow_lan_access=bool(exits["allow-lan"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, cast(tuple[object, ...], value))) if isinstance(value, tuple) else ()


def edits(request: UpRequest) -> tuple[Edit, ...]:
    """Return what a request changes in the file."""
    node: dict[str, Plain] = {}
    if request.login_server is not None:
        node["login-server"] = request.login_server.rstrip("/")
    if request.hostname is not None:
        node["hostname"] = request.hostname
    if request.advertise_tags is not None:
        node["advertise-tags"] = list(request.advertise_tags)
    mesh: dict[str, Plain] = {}
    if request.accept_routes is not None:
        mesh["accept-routes"] = request.accept_routes
    if request.accept_routes_only is not None:
        mesh["accept-only"] = list(request.accept_routes_only)
    if request.accept_routes_except is not None:
        mesh["accept-except"] = list(request.accept_routes_except)
    plugins = {
        MESH: mesh,
        NAMES: _name_values(request),
        ROUTER: _router_values(request),
        RELAY: _relay_values(request),
        EXIT: _exit_values(request),
        CONNECTOR: _connector_values(request),
    }
    tables = ((("node",), node), *((("plugins", name), v) for name, v in plugins.items()))
    return tuple(Edit(table=table, values=values) for table, values in tables if values)


def _name_values(request: UpRequest) -> dict[str, Plain]:
    if request.accept_dns is None:
        return {}
    # Without the wish the plugin stays: whoever asks 100.100.100.100 is still answered.
    return {"accept-dns": request.accept_dns, **({"enabled": True} if request.accept_dns else {})}


def _router_values(request: UpRequest) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    if request.advertise_routes is not None:
        found["networks"] = list(request.advertise_routes)
        if request.advertise_routes:
            found["enabled"] = True
    if request.snat_subnet_routes is not None:
        found["masquerade"] = request.snat_subnet_routes
    return found


def _relay_values(request: UpRequest) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    if request.relay_server_port is not None:
        found["enabled"] = request.relay_server_port >= 0
        if request.relay_server_port >= 0:
            found["port"] = request.relay_server_port
    if request.relay_server_static_endpoints is not None:
        found["static-endpoints"] = list(request.relay_server_static_endpoints)
    return found


def _connector_values(request: UpRequest) -> dict[str, Plain]:
    return {} if request.advertise_connector is None else {"enabled": request.advertise_connector}


def _exit_values(request: UpRequest) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    if request.advertise_exit_node is not None:
        found["offer"] = request.advertise_exit_node
    if request.exit_node is not None:
        found["use"] = request.exit_node
    if request.advertise_exit_node or request.exit_node:
        found["enabled"] = True
    if request.exit_node_allow_lan_access is not None:
        found["allow-lan"] = request.exit_node_allow_lan_access
    return found
