"""Asking a URL whom to admit: what is asked, and what counts when there is no answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.net.serving import serving

from gatepost.errors import SettingsError
from gatepost.net.derp_admission import UrlAdmission, read_verify_url
from gatepost.net.http_server import Request, Response
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import Insecure, client_context, server_context, utc_now
from gatepost.testing.makers import make_private

KEY = make_private(1).public


async def asked(answer: Response, *, is_open: bool = True) -> tuple[bool, list[Request]]:
    requests: list[Request] = []

    async def handle(request: Request) -> Response:
        requests.append(request)
        return answer

    async with serving(handle) as server:
        url = read_verify_url(f"http://127.0.0.1:{server.port}/verify?a=b")
        return await UrlAdmission(url, is_open=is_open).admit(KEY, "192.0.2.7"), requests


async def test_the_question_is_derper_s() -> None:
    allowed, (request,) = await asked(Response(body=b'{"Allow":true}'))

    assert allowed
    assert (request.method, request.path, request.query) == ("POST", "/verify", {"a": "b"})
    assert json.loads(request.body) == {"NodePublic": str(KEY), "Source": "192.0.2.7"}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        Response(body=b'{"Allow":false}'),
        Response(body=b"{}"),
        Response(status=403, body=b'{"Allow":true}'),
        Response(status=500),
    ],
)
async def test_whoever_answers_otherwise_has_not_let_the_node_in(
    answer: Response, *, is_open: bool
) -> None:
    allowed, _ = await asked(answer, is_open=is_open)

    assert not allowed


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("body", [b"no json", b"[1]", b"x" * 5000])
async def test_an_answer_that_is_none_counts_as_the_operator_chose(
    body: bytes, *, is_open: bool
) -> None:
    allowed, _ = await asked(Response(body=body), is_open=is_open)

    assert allowed is is_open


@pytest.mark.parametrize("is_open", [True, False])
async def test_nobody_there_counts_as_the_operator_chose(*, is_open: bool) -> None:
    async with serving(_never) as server:
        port = server.port
    admission = UrlAdmission(read_verify_url(f"http://127.0.0.1:{port}/"), is_open=is_open)

    assert await admission.admit(KEY, "") is is_open
    assert admission.unanswered == 1


async def test_a_server_that_hangs_up_is_no_answer() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    admission = UrlAdmission(read_verify_url(f"http://127.0.0.1:{port}/"), is_open=False)

    assert await admission.ask(KEY, "") is None
    server.close()


async def test_a_question_inside_tls_trusts_the_authorities_only(tmp_path: Path) -> None:
    own = own_certificate(tmp_path / "own.pem", ["127.0.0.1"], utc_now())

    async def handle(_: Request) -> Response:
        return Response(body=b'{"Allow":true}')

    async with serving(handle, tls=server_context(own.path)) as server:
        url = read_verify_url(f"https://127.0.0.1:{server.port}/verify")
        unknown = UrlAdmission(url, is_open=False)
        trusting = UrlAdmission(url, is_open=False, context=client_context(Insecure("")))

        assert await unknown.ask(KEY, "") is None
        assert await trusting.ask(KEY, "") is True


@pytest.mark.parametrize("text", ["", "x", "ftp://x/", "http://", "http://x:y/", "http://x/a b"])
def test_a_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="verify-url"):
        read_verify_url(text)


async def _never(_: Request) -> Response:
    raise AssertionError("nobody asks here")
