"""The promises of TLS under the HTTP server, with the control protocol inside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.net.control_bed import MACHINE, SERVER
from tests.net.serving import read_all, serving
from tests.net.waiting import eventually

from gatepost.errors import RefusedError
from gatepost.net.control_client import ControlClient
from gatepost.net.control_server import ControlRequest, ControlResponse, NoiseServer
from gatepost.net.http_server import Request, Response, Upgrade
from gatepost.net.own_certificate import own_certificate
from gatepost.net.small_tls import PIECE, Patience, over_tls
from gatepost.net.tls import Insecure, client_context, server_context
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
        with pytest.raises(RefusedError, match="not trusted; the server needs one"):
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


class Owner(asyncio.Protocol):
    """What sits on TLS in the tests below: says what comes, and can be told what to do."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.pieces = 0
        self.ended = False
        self.lost = asyncio.Event()
        self.pauses = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.pieces += 1

    def eof_received(self) -> bool:
        self.ended = True
        return False

    def pause_writing(self) -> None:
        self.pauses += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost.set()


class InPlace(Owner, asyncio.BufferedProtocol):
    """The same, with memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = bytearray(100_000)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self.memory

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.memory[:nbytes]))


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def over(
    certificate: Path, kind: type[Owner] = Owner, patience: Patience | None = None
) -> AsyncGenerator[tuple[list[Owner], int]]:
    """Listen with TLS; the owners of the connections collect in the list."""
    owners: list[Owner] = []

    def make() -> Owner:
        owners.append(kind())
        return owners[-1]

    factory = over_tls(make, server_context(certificate), patience or Patience())
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    try:
        yield owners, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for owner in owners:
            owner.transport.abort()


@contextlib.asynccontextmanager
async def dialled(port: int) -> AsyncGenerator[Line]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(Insecure("")), server_hostname="x"
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("kind", [Owner, InPlace])
async def test_everything_arrives_in_order_both_ways(certificate: Path, kind: type[Owner]) -> None:
    sent = bytes(range(256)) * 12_000  # 3 MB: reads, pieces and records end in different places
    async with over(certificate, kind) as (owners, port), dialled(port) as (reader, writer):
        writer.write(sent)
        await eventually(lambda: owners and len(owners[0].got) == len(sent))
        owners[0].transport.write(memoryview(sent))
        async with asyncio.timeout(20):
            back = await reader.readexactly(len(sent))

    assert owners[0].got == sent
    assert back == sent


async def test_memory_that_was_written_may_be_used_again_at_once(certificate: Path) -> None:
    memory = bytearray(b"a" * (3 * PIECE + 5))
    async with over(certificate) as (owners, port), dialled(port) as (reader, _):
        await eventually(lambda: owners)
        owners[0].transport.write(memory)
        memory[:] = b"b" * len(memory)
        async with asyncio.timeout(10):
            got = await reader.readexactly(len(memory))

    assert got == b"a" * len(memory)


@pytest.mark.parametrize("kind", [Owner, InPlace])
async def test_a_paused_owner_gets_nothing_and_loses_nothing(
    certificate: Path, kind: type[Owner]
) -> None:
    sent = bytes(range(256)) * 4000
    async with over(certificate, kind) as (owners, port), dialled(port) as (_, writer):
        await eventually(lambda: owners)
        writer.write(b"first")
        await eventually(lambda: owners[0].got)
        owners[0].transport.pause_reading()
        writer.write(sent)
        await asyncio.sleep(0.1)
        assert owners[0].got == b"first"

        owners[0].transport.resume_reading()
        await eventually(lambda: len(owners[0].got) == 5 + len(sent))

    assert owners[0].got == b"first" + sent


async def test_a_good_bye_is_heard_after_the_last_octets(certificate: Path) -> None:
    async with over(certificate) as (owners, port), dialled(port) as (reader, writer):
        writer.write(b"last words")
        writer.close()
        await eventually(lambda: owners and owners[0].ended)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
            await owners[0].lost.wait()

    assert owners[0].got == b"last words"


async def test_what_was_written_before_closing_arrives(certificate: Path) -> None:
    async with over(certificate) as (owners, port), dialled(port) as (reader, _):
        await eventually(lambda: owners)
        owners[0].transport.write(b"x" * 300_000)
        owners[0].transport.close()
        owners[0].transport.write(b"too late")
        async with asyncio.timeout(5):
            assert await reader.read() == b"x" * 300_000


async def test_a_connection_without_a_handshake_is_dropped(certificate: Path) -> None:
    async with over(certificate, patience=Patience(handshake=0.2)) as (owners, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()

    assert owners == []


async def test_a_reader_that_takes_nothing_does_not_hold_a_closed_connection(
    certificate: Path,
) -> None:
    patience = Patience(shutdown=0.2)
    async with over(certificate, patience=patience) as (owners, port), dialled(port):
        await eventually(lambda: owners)
        while not owners[0].pauses:
            owners[0].transport.write(bytes(1 << 20))
        owners[0].transport.close()
        async with asyncio.timeout(5):
            await owners[0].lost.wait()


async def test_a_record_that_was_altered_ends_the_connection(certificate: Path) -> None:
    async with over(certificate) as (owners, port), dialled(port) as (_, writer):
        await eventually(lambda: owners)
        plain = writer.get_extra_info("socket")
        os.write(plain.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        async with asyncio.timeout(5):
            await owners[0].lost.wait()

    assert owners[0].got == b""


async def test_strangers_who_only_connect_are_bounded_and_the_next_gets_a_place(
    certificate: Path,
) -> None:
    async with over(certificate, patience=Patience(handshakes=3)) as (owners, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OSError):  # noqa: PT011  # reset or end of file, as the kernel likes
            async with dialled(port):
                pass
        silent[0][1].transport.abort()
        await asyncio.sleep(0.05)
        async with dialled(port) as (_, writer):
            writer.write(b"in")
            await eventually(lambda: owners and owners[0].got)
        for _, writer in silent:
            writer.transport.abort()

    assert owners[0].got == b"in"
