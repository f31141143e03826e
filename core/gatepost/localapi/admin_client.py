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
    SshCheckDocument,
    UserDocument,
    UserRequest,
)
from gatepost.model.admin_names import NamesDocument, NamesRequest
from gatepost.model.policy import (
    CanDocument,
    CanRequest,
    CheckDocument,
    PolicyDocument,
    PolicyRequest,
    PolicyVersionDocument,
    PreviewDocument,
    UndoRequest,
)
from gatepost.model.status import Document

DEFAULT_SOCKET = Path("/run/gatepost-coordination/admin.sock")

LONG = 60.0  # seconds: a policy is compiled against thousands of nodes


class AdminClient:
    """Ask one server. `which` is an id or a unique name; errors as in `LocalConnection.ask`."""

    def __init__(self, path: Path = DEFAULT_SOCKET, *, seconds: float = 10.0) -> None:
        program = "gatepost-coordination"
        self._connection = LocalConnection(
            path=path,
            program=program,
            unit=program,
            seconds=seconds,
            elsewhere="; or go to the machine where it runs",
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

    def names(self) -> NamesDocument:
        return self._connection.ask("GET", "/v1/dns", NamesDocument)

    def change_names(self, request: NamesRequest) -> NamesDocument:
        return self._connection.ask("PATCH", "/v1/dns", NamesDocument, body=request)

    def ssh_checks(self) -> tuple[SshCheckDocument, ...]:
        return self._connection.ask("GET", "/v1/ssh-checks", tuple[SshCheckDocument, ...])

    def approve_ssh(self, which: str) -> None:
        self._connection.ask("POST", _path("ssh-checks", which), Document)

    def deny_ssh(self, which: str) -> None:
        self._connection.ask("DELETE", _path("ssh-checks", which), Document)

    def policy(self) -> PolicyDocument:
        return self._connection.ask("GET", "/v1/policy", PolicyDocument, seconds=LONG)

    def set_policy(self, request: PolicyRequest) -> PolicyDocument:
        return self._connection.ask("PUT", "/v1/policy", PolicyDocument, body=request, seconds=LONG)

    def check_policy(self, request: PolicyRequest) -> CheckDocument:
        return self._connection.ask(
            "POST", "/v1/policy/check", CheckDocument, body=request, seconds=LONG
        )

    def preview_policy(self, request: PolicyRequest) -> PreviewDocument:
        return self._connection.ask(
            "POST", "/v1/policy/preview", PreviewDocument, body=request, seconds=LONG
        )

    def can(self, request: CanRequest) -> CanDocument:
        return self._connection.ask("POST", "/v1/policy/can", CanDocument, body=request)

    def policy_history(self) -> tuple[PolicyVersionDocument, ...]:
        return self._connection.ask(
            "GET", "/v1/policy/history", tuple[PolicyVersionDocument, ...], seconds=LONG
        )

    def policy_version(self, version: int) -> PolicyDocument:
        path = _path("policy/history", str(version))
        return self._connection.ask("GET", path, PolicyDocument)

    def undo_policy(self, request: UndoRequest) -> PolicyDocument:
        return self._connection.ask(
            "POST", "/v1/policy/undo", PolicyDocument, body=request, seconds=LONG
        )


def _path(family: str, which: str) -> str:
    return f"/v1/{family}/{quote(which, safe='')}"
