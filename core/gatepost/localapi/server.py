"""The routes of the node's local API: HTTP on one side, a NodeApi on the other.

Reading is for everybody who can open the socket; changing is for root and the
group `gatepost`. `explain` and `plan` read; `ping`, `why` and `netcheck` send
packets but change nothing, so they are open too, as people are used to. `return-path`
sends in another's name, so it is not.
"""

from __future__ import annotations

import os
from pathlib import Path

from gatepost.localapi.listen import LocalServer, only_members, serve_local
from gatepost.localapi.protocol import NodeApi
from gatepost.localapi.router import Answer, Call, Guard, Route, Router
from gatepost.model.status import PingKind, PluginRequest, ProviderRequest, UpRequest
from gatepost.model.wake import WakeRequestDocument

PING_DEFAULT = 5.0  # seconds
PING_MOST = 60.0  # seconds
PING_LARGEST = 9000  # octets; more than any link of the internet carries
_PING_KINDS: tuple[PingKind, ...] = ("disco", "tsmp", "icmp")


async def serve_node(api: NodeApi, path: Path, *, mode: int = 0o666) -> LocalServer:
    """Serve a node on a Unix socket; raise StateError when the path cannot be had."""
    return await serve_local(node_router(api, only_members(os.getuid())), path, mode=mode)


def node_router(api: NodeApi, guard: Guard) -> Router:
    """Return the routes of `/v1/`."""
    routes = _Routes(api)
    return Router(
        (
            Route("GET", "/v1/version", routes.version),
            Route("GET", "/v1/status", routes.status),
            Route("POST", "/v1/up", routes.up),
            Route("POST", "/v1/down", routes.down),
            Route("POST", "/v1/logout", routes.logout),
            Route("GET", "/v1/settings", routes.settings),
            Route("PATCH", "/v1/settings", routes.change_settings),
            Route("GET", "/v1/plan", routes.plan),
            Route("GET", "/v1/explain", routes.explain),
            Route("GET", "/v1/plugins", routes.plugins),
            Route("PATCH", "/v1/plugins/{name}", routes.change_plugin),
            Route("GET", "/v1/exit-providers", routes.providers),
            Route("POST", "/v1/exit-providers", routes.import_provider),
            Route("DELETE", "/v1/exit-providers/{name}", routes.remove_provider),
            Route("POST", "/v1/ping", routes.ping, guarded=False),
            Route("POST", "/v1/why", routes.why, guarded=False),
            Route("GET", "/v1/netcheck", routes.netcheck),
            Route("GET", "/v1/lans", routes.lans),
            Route("GET", "/v1/surroundings", routes.surroundings),
            Route("GET", "/v1/plain-wireguard", routes.plain_wireguard),
            Route("POST", "/v1/return-path", routes.return_path),
            Route("POST", "/v1/wake", routes.wake),
        ),
        guard,
    )


class _Routes:
    """One function per route."""

    def __init__(self, api: NodeApi) -> None:
        self._api = api

    async def version(self, _call: Call) -> Answer:
        return await self._api.version()

    async def status(self, call: Call) -> Answer:
        return await self._api.status(peers=call.request.query.get("peers") != "no")

    async def up(self, call: Call) -> Answer:
        return await self._api.up(call.body(UpRequest))

    async def down(self, _call: Call) -> Answer:
        return await self._api.down()

    async def logout(self, _call: Call) -> Answer:
        return await self._api.logout()

    async def settings(self, _call: Call) -> Answer:
        return await self._api.settings()

    async def change_settings(self, call: Call) -> Answer:
        return await self._api.change_settings(call.body(UpRequest))

    async def plan(self, _call: Call) -> Answer:
        return await self._api.plan()

    async def explain(self, call: Call) -> Answer:
        return await self._api.explain(call.query("what"))

    async def plugins(self, _call: Call) -> Answer:
        return await self._api.plugins()

    async def change_plugin(self, call: Call) -> Answer:
        return await self._api.change_plugin(call.values["name"], call.body(PluginRequest))

    async def ping(self, call: Call) -> Answer:
        seconds = call.seconds("timeout", PING_DEFAULT, PING_MOST)
        kind = call.choice("kind", _PING_KINDS)
        size = call.number("size", PING_LARGEST)
        return await self._api.ping(call.query("target"), seconds, kind, size)

    async def why(self, call: Call) -> Answer:
        seconds = call.seconds("timeout", PING_DEFAULT, PING_MOST)
        return await self._api.why(call.query("target"), seconds)

    async def netcheck(self, _call: Call) -> Answer:
        return await self._api.netcheck()

    async def surroundings(self, _call: Call) -> Answer:
        return await self._api.surroundings()

    async def lans(self, _call: Call) -> Answer:
        return await self._api.lans()

    async def plain_wireguard(self, _call: Call) -> Answer:
        return await self._api.plain_wireguard()

    async def wake(self, call: Call) -> Answer:
        return await self._api.wake(call.body(WakeRequestDocument))

    async def return_path(self, call: Call) -> Answer:
        seconds = call.seconds("timeout", PING_DEFAULT, PING_MOST)
        return await self._api.return_path(call.query("target"), seconds)

    async def providers(self, _call: Call) -> Answer:
        return await self._api.providers()

    async def import_provider(self, call: Call) -> Answer:
        return await self._api.import_provider(call.body(ProviderRequest))

    async def remove_provider(self, call: Call) -> Answer:
        await self._api.remove_provider(call.values["name"])
        return None
