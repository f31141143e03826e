"""A request to a Unix socket and its answer as a document, or an error of ours.

Synchronous and free of asyncio on purpose: the command line starts faster
without it, and the web UI's threads do not need it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from gatepost.errors import (
    DeniedError,
    GatepostError,
    NotFoundError,
    RefusedError,
    SettingsError,
    StateError,
    UnreachableError,
    WireError,
)
from gatepost.model.status import ErrorDocument

T = TypeVar("T")

_LONGEST_REASON = 200  # octets of an answer that is no document

_ERRORS: dict[int, type[GatepostError]] = {
    400: SettingsError,
    403: DeniedError,
    404: NotFoundError,
    405: WireError,
    409: RefusedError,
    502: WireError,
    503: UnreachableError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConnection:
    """How to reach one daemon; every request uses a connection of its own.

    `program` and `unit` are named in errors, and where else it may run. `seconds`
    bounds connecting and each wait for bytes.
    """

    path: Path
    program: str
    unit: str
    seconds: float = 10.0
    elsewhere: str = ""

    def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> T:
        """Send a request and read its answer as `kind`.

        Raises UnreachableError when nobody listens, DeniedError when this
        process may not open the socket, and what the daemon answered else.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        payload = b"" if body is None else msgspec.json.encode(body)
        status, answer = self._exchange(method, target, payload, seconds or self.seconds)
        if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            reason = answer[:_LONGEST_REASON].decode(errors="replace")
            raise SettingsError(
                f"{self.program} reads nothing of {len(payload):,} octets ({reason})"
            )
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise _error_of(status, answer)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise WireError(
                f"{self.program} answered {path} with something else: {error}"
            ) from error

    def _exchange(self, method: str, target: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        connection = _UnixConnection(self.path, seconds)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # Who does not want all of it says so before it is sent.
                connection.request(method, target, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.program} did not answer within {seconds:g} s",
                hint=f"look at its log: journalctl -u {self.unit}",
            ) from error
        except PermissionError as error:
            raise DeniedError(
                f"you may not open {self.path}",
                hint="use sudo, or join the group and sign in again: sudo adduser USER gatepost",
            ) from error
        except (FileNotFoundError, ConnectionError) as error:
            raise UnreachableError(
                f"{self.program} is not running (nobody answers on {self.path})",
                hint=f"start it: sudo systemctl start {self.unit}{self.elsewhere}",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.path}: {error}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; the host name is only for the Host header."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


def _error_of(status: int, body: bytes) -> GatepostError:
    try:
        document = msgspec.json.decode(body, type=ErrorDocument)
    except msgspec.DecodeError:
        text = body[:_LONGEST_REASON].decode(errors="replace")
        document = ErrorDocument(error=f"status {status}: {text}")
    return _ERRORS.get(status, StateError)(document.error, hint=document.hint)
