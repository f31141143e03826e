"""Requests to functions, and every error to its status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import pytest

from gatepost.errors import (
    DeniedError,
    GatepostError,
    Malformed,
    NotFoundError,
    RefusedError,
    SettingsError,
    StateError,
    UnreachableError,
)
from gatepost.localapi.router import Answer, Call, Route, Router
from gatepost.model.status import NoticeDocument, PluginRequest
from gatepost.net.http_server import Peer, Request, Response


def make_request(method: str, path: str, body: bytes = b"", **query: str) -> Request:
    return Request(
        method=method, path=path, query=query, headers={}, body=body, peer=Peer(), secure=False
    )


def refuse(_peer: Peer) -> None:
    raise DeniedError("you may not", hint="ask")


async def echo(call: Call) -> Answer:
    return NoticeDocument(code=call.values["name"], text=call.request.query.get("q", ""))


async def take(call: Call) -> Answer:
    body = call.body(PluginRequest)
    return NoticeDocument(code="took", text=str(body.enabled))


async def nothing(_call: Call) -> Answer:
    return None


ROUTES = (
    Route("GET", "/v1/things/{name}", echo),
    Route("PATCH", "/v1/things/{name}", take),
    Route("DELETE", "/v1/things/{name}", nothing),
    Route("POST", "/v1/open", nothing, guarded=False),
    Route("GET", "/v1/secret", nothing, guarded=True),
)


async def ask(
    request: Request, routes: Sequence[Route] = ROUTES, *, member: bool = True
) -> tuple[int, Any, Response]:
    router = Router(tuple(routes), (lambda _peer: None) if member else refuse)
    response = await router(request)
    return response.status, json.loads(response.body), response


async def test_a_place_in_the_path_is_unquoted() -> None:
    status, body, _ = await ask(make_request("GET", "/v1/things/a%2Fb", q="x"))

    assert (status, body) == (200, {"code": "a/b", "text": "x"})


async def test_an_unknown_path_is_404() -> None:
    status, body, _ = await ask(make_request("GET", "/v1/nothing"))

    assert status == HTTPStatus.NOT_FOUND
    assert "/v1/nothing" in body["error"]


async def test_a_wrong_method_is_405_and_says_which_are_right() -> None:
    status, body, response = await ask(make_request("POST", "/v1/things/x"))

    assert status == HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "DELETE, GET, PATCH") in response.headers
    assert "not POST" in body["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"enabled":"yes"}', b"\xff"])
async def test_a_wrong_body_is_400(body: bytes) -> None:
    status, answer, _ = await ask(make_request("PATCH", "/v1/things/x", body))

    assert status == HTTPStatus.BAD_REQUEST
    assert "body" in answer["error"]


async def test_an_empty_body_is_an_empty_document() -> None:
    status, body, _ = await ask(make_request("PATCH", "/v1/things/x"))

    assert (status, body["text"]) == (200, "None")


async def test_no_answer_is_an_empty_object() -> None:
    status, body, _ = await ask(make_request("DELETE", "/v1/things/x"))

    assert (status, body) == (200, {})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/things/x", 200),
        ("POST", "/v1/open", 200),
        ("PATCH", "/v1/things/x", 403),
        ("DELETE", "/v1/things/x", 403),
        ("GET", "/v1/secret", 403),
    ],
)
async def test_who_may_only_read_may_read_only(method: str, path: str, status: int) -> None:
    answered, body, _ = await ask(make_request(method, path), member=False)

    assert answered == status
    assert body.get("hint", "ask") == "ask"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("x"), 400),
        (DeniedError("x"), 403),
        (NotFoundError("x"), 404),
        (RefusedError("x"), 409),
        (StateError("x"), 500),
        (GatepostError("x"), 500),
        (Malformed("x"), 502),
        (UnreachableError("x"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_error_has_its_status(error: GatepostError, status: int) -> None:
    async def fail(_call: Call) -> Answer:
        raise error

    answered, body, _ = await ask(make_request("GET", "/v1/x"), [Route("GET", "/v1/x", fail)])

    assert (answered, body["error"]) == (status, "x")


@pytest.mark.parametrize("text", ["", "0", "-1", "61", "nan", "soon"])
async def test_seconds_out_of_range_are_named(text: str) -> None:
    async def wait(call: Call) -> Answer:
        call.seconds("timeout", 99.0, 60.0)
        return None

    routes = [Route("GET", "/v1/x", wait)]
    status, body, _ = await ask(make_request("GET", "/v1/x", timeout=text), routes)

    assert status == HTTPStatus.BAD_REQUEST
    assert (text or "99.0") in body["error"]


async def test_a_missing_query_value_is_named() -> None:
    async def need(call: Call) -> Answer:
        call.query("what")
        return None

    status, body, _ = await ask(make_request("GET", "/v1/x"), [Route("GET", "/v1/x", need)])

    assert status == HTTPStatus.BAD_REQUEST
    assert "what" in body["error"]
