"""Methods, paths and permissions to functions: shared by the node's and the server's API.

A route's function takes a `Call` and returns a document, a sequence of
documents, or None for `{}`. What it raises becomes an ErrorDocument:

    SettingsError    400  a value is wrong          RefusedError      409
    NotFoundError    404  there is no such thing    WireError         502
    DeniedError      403  this process may not      UnreachableError  503
                                                    StateError        500
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import unquote

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
from gatepost.model.status import Document, ErrorDocument
from gatepost.net.http_server import Peer, Request, Response

T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)

log = logging.getLogger(__name__)


_STATUS: tuple[tuple[type[GatepostError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (SettingsError, HTTPStatus.BAD_REQUEST),
    (DeniedError, HTTPStatus.FORBIDDEN),
    (RefusedError, HTTPStatus.CONFLICT),
    (UnreachableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (WireError, HTTPStatus.BAD_GATEWAY),
    (StateError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request and the values its path had for `{name}` places."""

    request: Request
    values: dict[str, str]

    def body(self, kind: type[T]) -> T:
        """Read the body as JSON of this kind, or raise SettingsError (an empty body is `{}`)."""
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"the body is not what this path takes: {error}") from error

    def query(self, name: str) -> str:
        """Return a query value, or raise SettingsError when it is missing or empty."""
        value = self.request.query.get(name, "")
        if not value:
            raise SettingsError(f"the query value {name!r} is missing: add ?{name}=...")
        return value

    def seconds(self, name: str, default: float, most: float) -> float:
        """Return a query value as seconds, over 0 and up to `most`."""
        text = self.request.query.get(name, "") or str(default)
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value <= most:
            raise SettingsError(f"{name} {text!r} is not a number of seconds from 0 to {most:g}")
        return value

    def number(self, name: str, most: int) -> int:
        """Return a query value as a number from 0 to `most`; 0 when it is not there."""
        text = self.request.query.get(name, "") or "0"
        if not (text.isascii() and text.isdecimal() and int(text[:9]) <= most):
            raise SettingsError(f"{name} {text!r} is not a number from 0 to {most}")
        return int(text)

    def choice(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Return a query value that is one of `choices`; the first when it is not there."""
        text = self.request.query.get(name, "") or choices[0]
        for each in choices:
            if text == each:
                return each
        raise SettingsError(f"{name} {text!r} is none of {', '.join(choices)}")


Answer = Document | Sequence[Document] | None
Function = Callable[[Call], Awaitable[Answer]]
Guard = Callable[[Peer], None]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` has literal segments and `{name}` places; a GET needs no permission unless said."""

    method: str
    path: str
    function: Function
    guarded: bool | None = None

    def needs_permission(self) -> bool:
        return self.method != "GET" if self.guarded is None else self.guarded

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the places, or None when the path is another."""
        mine = self.path.strip("/").split("/")
        if len(mine) != len(segments):
            return None
        values: dict[str, str] = {}
        for own, given in zip(mine, segments, strict=True):
            if own.startswith("{"):
                values[own.strip("{}")] = given
            elif own != given:
                return None
        return values


@dataclass(frozen=True, slots=True)
class Router:
    """A handler for `net.http_server`; `guard` raises DeniedError for who may only read."""

    routes: tuple[Route, ...]
    guard: Guard
    encoder: msgspec.json.Encoder = field(default_factory=msgspec.json.Encoder)

    async def __call__(self, request: Request) -> Response:
        try:
            call, route = self._find(request)
            if route.needs_permission():
                self.guard(request.peer)
            answer = await route.function(call)
        except _WrongMethodError as error:
            allowed = (("Allow", ", ".join(error.allowed)),)
            return self._failure(HTTPStatus.METHOD_NOT_ALLOWED, str(error), headers=allowed)
        except GatepostError as error:
            return self._refusal(request, error)
        return Response(body=self.encoder.encode({} if answer is None else answer))

    def _find(self, request: Request) -> tuple[Call, Route]:
        segments = [unquote(segment) for segment in request.path.strip("/").split("/")]
        matches = [(route, route.match(segments)) for route in self.routes]
        allowed = sorted({route.method for route, values in matches if values is not None})
        for route, values in matches:
            if values is not None and route.method == request.method:
                return Call(request, values), route
        if allowed:
            raise _WrongMethodError(request.method, request.path, allowed)
        raise NotFoundError(f"there is no {request.path} in this API")

    def _refusal(self, request: Request, error: GatepostError) -> Response:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), None)
        status = status or HTTPStatus.INTERNAL_SERVER_ERROR
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            named = {"fields": {"method": request.method, "path": request.path}}
            log.warning("%s %s: %s", request.method, request.path, error, extra=named)
        return self._failure(status, str(error), hint=error.hint)

    def _failure(
        self,
        status: HTTPStatus,
        text: str,
        *,
        hint: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        body = self.encoder.encode(ErrorDocument(error=text, hint=hint))
        return Response(status=status, body=body, headers=headers)


class _WrongMethodError(SettingsError):
    def __init__(self, method: str, path: str, allowed: list[str]) -> None:
        super().__init__(f"{path} takes {' and '.join(allowed)}, not {method}")
        self.allowed = allowed
