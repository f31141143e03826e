"""The typed client of a coordination server's administration API."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from gatepost.localapi.connection import LocalConnection
from gatepost.model.admin import (
    ApproveRequest,
    KeyDocument,
    KeyRequest,
    NodeDocument,
    NodeRequest,
    RegistrationDocument,
    RelayClientDocument,
    RelayDocument,
    ServerDocument,
    UserDocument,
    UserRequest,
)
from gatepost.model.status import Document

DEFAULT_SOCKET = Path("/run/gatepost-coordination/admin.sock")


class AdminClient:
    """Ask one server. `which` is an id or a unique name; errors as in `LocalConnection.ask`."""

    def __init__(self, path: Path = DEFAULT_SOCKET, *, seconds: float = 10.0) -> None:
        program = "gatepost-coordination"
        self._connection = LocalConnection(
            path=path, program=program, unit=program, seconds=seconds
        )

    def server(self) -> ServerDocument:
        return self._connection.ask("GET", "/v1/server", ServerDocument)

    def relay(self) -> RelayDocument:
        return self._connection.ask("GET", "/v1/derp", RelayDocument)

    def relay_clients(self) -> tuple[RelayClientDocument, ...]:
        return self._connection.ask("GET", "/v1/derp/clients", tuple[RelayClientDocument, ...])

    def users(self) -> tuple[UserDocument, ...]:
        return self._connection.ask("GET", "/v1/users", tuple[UserDocument, ...])

    def create_user(self, request: UserRequest) -> UserDocument:
        return self._connection.ask("POST", "/v1/users", UserDocument, body=request)

    def change_user(self, which: str, request: UserRequest) -> UserDocument:
        return self._connection.ask("PATCH", _path("users", which), UserDocument, body=request)

    def delete_user(self, which: str) -> None:
        self._connection.ask("DELETE", _path("users", which), Document)

    def keys(self) -> tuple[KeyDocument, ...]:
        return self._connection.ask("GET", "/v1/keys", tuple[KeyDocument, ...])

    def create_key(self, request: KeyRequest) -> KeyDocument:
        return self._connection.ask("POST", "/v1/keys", KeyDocument, body=request)

    def revoke_key(self, which: str) -> None:
        self._connection.ask("DELETE", _path("keys", which), Document)

    def nodes(self) -> tuple[NodeDocument, ...]:
        return self._connection.ask("GET", "/v1/nodes", tuple[NodeDocument, ...])

    def change_node(self, which: str, request: NodeRequest) -> NodeDocument:
        return self._connection.ask("PATCH", _path("nodes", which), NodeDocument, body=request)

    def delete_node(self, which: str) -> None:
        self._connection.ask("DELETE", _path("nodes", which), Document)

    def registrations(self) -> tuple[RegistrationDocument, ...]:
        return self._connection.ask("GET", "/v1/registrations", tuple[RegistrationDocument, ...])

    def approve(self, which: str, request: ApproveRequest) -> None:
        self._connection.ask("POST", _path("registrations", which), Document, body=request)

    def deny(self, which: str) -> None:
        self._connection.ask("DELETE", _path("registrations", which), Document)


def _path(family: str, which: str) -> str:
    return f"/v1/{family}/{quote(which, safe='')}"
