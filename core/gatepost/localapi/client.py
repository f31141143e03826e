"""The typed client of a node's local API, for the command line and the web UI."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from gatepost.localapi.connection import LocalConnection
from gatepost.model.guest_documents import PlainWireGuardDocument
from gatepost.model.status import (
    ChangeDocument,
    LanDocument,
    NetcheckDocument,
    PingDocument,
    PingKind,
    PluginDocument,
    PluginRequest,
    ProviderDocument,
    ProviderRequest,
    ReasonDocument,
    ReturnPathDocument,
    Status,
    UpRequest,
    VersionDocument,
    WhyDocument,
)
from gatepost.model.surroundings import SurroundingsDocument
from gatepost.model.wake import WakeDocument, WakeRequestDocument

DEFAULT_SOCKET = Path("/run/gatepost/gatepostd.sock")
_MARGIN = 5.0  # seconds more than the daemon may take for a request with its own limit
_NETCHECK = 30.0  # seconds


class NodeClient:
    """Ask one node. Every method raises GatepostError; see `LocalConnection.ask`."""

    def __init__(self, path: Path = DEFAULT_SOCKET, *, seconds: float = 10.0) -> None:
        self._connection = LocalConnection(
            path=path, program="gatepostd", unit="gatepostd", seconds=seconds
        )

    def version(self) -> VersionDocument:
        return self._connection.ask("GET", "/v1/version", VersionDocument)

    def status(self, *, peers: bool = True) -> Status:
        query = None if peers else {"peers": "no"}
        return self._connection.ask("GET", "/v1/status", Status, query=query)

    def up(self, request: UpRequest) -> Status:
        return self._connection.ask("POST", "/v1/up", Status, body=request)

    def down(self) -> Status:
        return self._connection.ask("POST", "/v1/down", Status)

    def logout(self) -> Status:
        return self._connection.ask("POST", "/v1/logout", Status)

    def settings(self) -> UpRequest:
        return self._connection.ask("GET", "/v1/settings", UpRequest)

    def change_settings(self, request: UpRequest) -> UpRequest:
        return self._connection.ask("PATCH", "/v1/settings", UpRequest, body=request)

    def plan(self) -> tuple[ChangeDocument, ...]:
        return self._connection.ask("GET", "/v1/plan", tuple[ChangeDocument, ...])

    def explain(self, what: str) -> tuple[ReasonDocument, ...]:
        query = {"what": what}
        return self._connection.ask("GET", "/v1/explain", tuple[ReasonDocument, ...], query=query)

    def plugins(self) -> tuple[PluginDocument, ...]:
        return self._connection.ask("GET", "/v1/plugins", tuple[PluginDocument, ...])

    def change_plugin(self, name: str, request: PluginRequest) -> PluginDocument:
        path = f"/v1/plugins/{quote(name, safe='')}"
        return self._connection.ask("PATCH", path, PluginDocument, body=request)

    def ping(
        self, target: str, seconds: float, kind: PingKind = "disco", size: int = 0
    ) -> PingDocument:
        query = {"target": target, "timeout": f"{seconds:g}", "kind": kind, "size": str(size)}
        return self._connection.ask(
            "POST", "/v1/ping", PingDocument, query=query, seconds=seconds + _MARGIN
        )

    def why(self, target: str, seconds: float) -> WhyDocument:
        query = {"target": target, "timeout": f"{seconds:g}"}
        wait = seconds + _NETCHECK
        return self._connection.ask("POST", "/v1/why", WhyDocument, query=query, seconds=wait)

    def providers(self) -> tuple[ProviderDocument, ...]:
        return self._connection.ask("GET", "/v1/exit-providers", tuple[ProviderDocument, ...])

    def import_provider(self, request: ProviderRequest) -> ProviderDocument:
        return self._connection.ask("POST", "/v1/exit-providers", ProviderDocument, body=request)

    def remove_provider(self, name: str) -> None:
        path = f"/v1/exit-providers/{quote(name, safe='')}"
        self._connection.ask("DELETE", path, dict[str, str])

    def surroundings(self) -> SurroundingsDocument:
        return self._connection.ask("GET", "/v1/surroundings", SurroundingsDocument)

    def lans(self) -> tuple[LanDocument, ...]:
        return self._connection.ask("GET", "/v1/lans", tuple[LanDocument, ...])

    def plain_wireguard(self) -> PlainWireGuardDocument:
        return self._connection.ask("GET", "/v1/plain-wireguard", PlainWireGuardDocument)

    def wake(self, request: WakeRequestDocument) -> WakeDocument:
        return self._connection.ask("POST", "/v1/wake", WakeDocument, body=request)

    def return_path(self, target: str, seconds: float) -> ReturnPathDocument:
        query = {"target": target, "timeout": f"{seconds:g}"}
        return self._connection.ask(
            "POST", "/v1/return-path", ReturnPathDocument, query=query, seconds=seconds + _MARGIN
        )

    def netcheck(self) -> NetcheckDocument:
        return self._connection.ask("GET", "/v1/netcheck", NetcheckDocument, seconds=_NETCHECK)
