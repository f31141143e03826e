"""The promises of TLS under the HTTP server, with the control protocol inside."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.net.control_bed import MACHINE, SERVER
from tests.net.serving import read_all, serving

from gatepost.errors import RefusedError
from gatepost.net.control_client import ControlClient
from gatepost.net.control_server import ControlRequest, ControlResponse, NoiseServer
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import server_context
from gatepost.wire.go_json import write_json
from gatepost.wire.register import ServerKeys


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "own.pem"
    own_certificate(path, ["127.0.0.1"], datetime.now(UTC))
    return path


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_the_control_protocol_runs_inside_tls(certificate: Path) -> None:
    async def echo(request: ControlRequest) -> ControlResponse:
        return ControlResponse(body=request.body)

    noise = NoiseServer(SERVER, echo)
    secure: list[bool] = []

    async def front(request: Request) -> Response | Upgrade:
        secure.append(request.secure)
        if request.path == "/key":
            return Response(body=write_json(ServerKeys(public_key=SERVER.public)))
        return noise.upgrade(request)

    body = bytes(range(256)) * 2000
    async with serving(front, tls=server_context(certificate)) as server:
        url = f"https://127.0.0.1:{server.port}"
        client = ControlClient(url, MACHINE, tls=trusting(certificate))
        answer = await client.request("POST", "/x", body)
        await client.close()
        await noise.close()

    assert answer == (200, body)
    assert secure == [True, True]


async def test_the_key_is_not_taken_from_a_server_without_a_trusted_certificate(
    certificate: Path,
) -> None:
    async def front(_request: Request) -> Response:
        return Response(body=write_json(ServerKeys(public_key=SERVER.public)))

    async with serving(front, tls=server_context(certificate)) as server:
        client = ControlClient(f"https://127.0.0.1:{server.port}", MACHINE)
        with pytest.raises(RefusedError, match="not trusted"):
            await client.request("GET", "/x")
        await client.close()


async def test_a_client_that_speaks_no_tls_is_dropped_and_others_are_served(
    certificate: Path,
) -> None:
    async def front(_request: Request) -> Response:
        return Response(body=b"fine")

    async with serving(front, tls=server_context(certificate)) as server:
        dropped = await server.ask(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        async with server.connect(trusting(certificate)) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
            answer = await read_all(reader)
        await asyncio.sleep(0)

    assert b"HTTP" not in dropped
    assert answer.endswith(b"fine")
