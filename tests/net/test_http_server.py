"""The promises of the HTTP server: limits, order, hand-over, streams."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.net.serving import read_all, read_exactly, read_until, serving

from gatepost.net.http_server import Handler, Limits, Peer, Request, Response, Upgrade, serve

GET = b"GET /a?x=1&x=2&y= HTTP/1.1\r\nHost: box\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n"


class Recorder:
    """Answers with the path and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(body=request.path.encode(), content_type="text/plain")


async def test_a_request_arrives_in_parts_and_whole() -> None:
    handler = Recorder()
    async with serving(handler) as server, server.connect() as (reader, writer):
        for byte in GET:
            writer.write(bytes([byte]))
            await writer.drain()
        head = await read_until(reader, b"\r\n\r\n")
        body = await read_exactly(reader, 2)

    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"/a"
    asked = handler.requests[0]
    assert (asked.method, asked.path, asked.query) == ("GET", "/a", {"x": "2", "y": ""})
    assert asked.headers["host"] == "box"
    assert asked.peer == Peer(address="127.0.0.1")
    assert not asked.secure


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with serving(Recorder()) as server:
        answers = await server.ask(GET + GET + LAST)

    assert [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 ")[1:]] == [
        b"/a",
        b"/a",
        b"/last",
    ]


async def test_a_head_request_gets_no_body() -> None:
    async with serving(Recorder()) as server:
        answer = await server.ask(b"HEAD /a HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")

    assert b"Content-Length: 2" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET //[ HTTP/1.1\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: b\r\nLong: " + b"x" * 20000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, b"413"),
        (
            b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
            b"413",
        ),
    ],
)
async def test_a_wrong_request_is_refused_and_the_connection_closed(
    asked: bytes, status: bytes
) -> None:
    handler = Recorder()
    async with serving(handler, limits=Limits(body=100)) as server:
        answer = await server.ask(asked)

    assert answer.split()[1] == status
    assert handler.requests == []


async def test_a_body_up_to_the_limit_is_taken() -> None:
    handler = Recorder()
    async with serving(handler, limits=Limits(body=100)) as server:
        await server.ask(
            b"POST / HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
            + b"x" * 100
        )

    assert handler.requests[0].body == b"x" * 100


async def test_a_client_that_dribbles_its_request_is_dropped() -> None:
    async with (
        serving(Recorder(), limits=Limits(idle=0.2)) as server,
        server.connect() as (reader, writer),
    ):
        for byte in b"GET / HTTP/1.1\r\nHost: b\r\n" * 4:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if reader.at_eof() or reader.exception():
                break
        else:
            pytest.fail("still connected after more than the idle limit")


async def test_connections_beyond_the_limit_are_told_so() -> None:
    async with (
        serving(Recorder(), limits=Limits(connections=1)) as server,
        server.connect() as (reader, writer),
    ):
        writer.write(GET)
        await read_until(reader, b"/a")
        refused = await server.ask(b"")

        writer.write(LAST)
        await read_all(reader)
        served = await server.ask(LAST)

    assert refused.split()[1] == b"503"
    assert served.split()[1] == b"200"


async def test_a_failing_handler_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> Response:
        if request.path == "/last":
            return Response(body=b"fine")
        raise ValueError("secret detail")

    async with serving(fail) as server:
        answers = await server.ask(GET + LAST)

    assert b" 500 " in answers
    assert b"secret" not in answers
    assert answers.endswith(b"fine")
    assert "secret detail" in caplog.text


# --- streams ------------------------------------------------------------------------


async def test_a_stream_is_sent_piece_by_piece() -> None:
    go_on = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    async def answer(_request: Request) -> Response:
        return Response(stream=pieces())

    async with serving(answer) as server, server.connect() as (reader, writer):
        writer.write(LAST)
        await read_until(reader, b"first")
        go_on.set()
        rest = await read_all(reader)

    assert b"second" in rest


async def test_a_stream_is_closed_when_the_reader_leaves() -> None:
    closed = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def answer(_request: Request) -> Response:
        return Response(stream=pieces())

    async with serving(answer) as server:
        async with server.connect() as (reader, writer):
            writer.write(GET)
            await read_until(reader, b"first")
        async with asyncio.timeout(5):
            await closed.wait()


async def test_a_reader_that_takes_nothing_holds_the_stream_back_and_is_dropped() -> None:
    sent = 0
    closed = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        nonlocal sent
        try:
            while True:
                sent += 1
                yield bytes(1 << 16)
        finally:
            closed.set()

    async def answer(_request: Request) -> Response:
        return Response(stream=pieces())

    async with (
        serving(answer, limits=Limits(stall=0.3)) as server,
        server.connect() as (_, writer),
    ):
        writer.write(GET)  # and never read more than what asyncio buffers by itself
        async with asyncio.timeout(10):
            await closed.wait()

        assert not server.server.listener.connections
    assert sent < 1000  # what the kernel's buffers hold, not what the generator could make


async def test_a_stream_that_fails_breaks_the_connection_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"first"
        raise ValueError("out of pieces")

    async def answer(_request: Request) -> Response:
        return Response(stream=pieces())

    async with serving(answer) as server, server.connect() as (reader, writer):
        writer.write(GET)
        everything = await read_all(reader)

    assert not everything.endswith(b"0\r\n\r\n")  # not a proper end of the chunks
    assert "out of pieces" in caplog.text


# --- upgrades -----------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Sends everything back, in upper case."""

    def __init__(self, transport: asyncio.Transport, rest: bytes) -> None:
        self._transport = transport
        self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data.upper())


def upgrade_to_echo(wait: asyncio.Event | None = None) -> Handler:
    async def answer(_request: Request) -> Upgrade:
        if wait is not None:
            await wait.wait()
        return Upgrade(protocol="echo", take=Echo, headers=(("X-Extra", "1"),))

    return answer


UPGRADE = b"POST /up HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


@pytest.mark.parametrize("early", [b"", b"early "])
async def test_an_upgraded_connection_loses_no_byte(early: bytes) -> None:
    async with serving(upgrade_to_echo()) as server, server.connect() as (reader, writer):
        writer.write(UPGRADE + early)
        head = await read_until(reader, b"\r\n\r\n")
        writer.write(b"later")
        echoed = await read_exactly(reader, len(early) + 5)

    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"upgrade: echo" in head.lower()
    assert b"x-extra: 1" in head.lower()
    assert echoed == early.upper() + b"LATER"


async def test_bytes_that_come_while_the_upgrade_is_decided_are_kept() -> None:
    decide = asyncio.Event()
    async with serving(upgrade_to_echo(decide)) as server, server.connect() as (reader, writer):
        writer.write(UPGRADE)
        writer.write(b"one ")
        await writer.drain()
        writer.write(b"two")
        await asyncio.sleep(0.05)
        decide.set()
        await read_until(reader, b"\r\n\r\n")

        assert await read_exactly(reader, 7) == b"ONE TWO"


async def test_an_upgraded_connection_counts_no_longer_and_is_never_idle() -> None:
    async with (
        serving(upgrade_to_echo(), limits=Limits(connections=1, idle=0.1)) as server,
        server.connect() as (reader, writer),
    ):
        writer.write(UPGRADE)
        await read_until(reader, b"\r\n\r\n")
        assert not server.server.listener.connections
        await asyncio.sleep(0.3)
        writer.write(b"still here")

        assert await read_exactly(reader, 10) == b"STILL HERE"


async def test_an_upgrade_may_have_its_own_first_bytes() -> None:
    async def answer(_request: Request) -> Upgrade:
        return Upgrade(protocol="echo", take=Echo, raw_response=b"hi ")

    async with serving(answer) as server, server.connect() as (reader, writer):
        writer.write(UPGRADE + b"x")

        assert await read_exactly(reader, 4) == b"hi X"


async def test_small_pieces_do_not_wait_for_an_acknowledgement() -> None:
    at_once: list[int] = []

    def take(transport: asyncio.Transport, rest: bytes) -> asyncio.BaseProtocol:
        sock: socket.socket = transport.get_extra_info("socket")
        at_once.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return Echo(transport, rest)

    async def answer(_request: Request) -> Upgrade:
        return Upgrade(protocol="echo", take=take)

    async with serving(answer) as server, server.connect() as (reader, writer):
        writer.write(UPGRADE)
        await read_until(reader, b"\r\n\r\n")

    assert at_once == [1]


async def test_a_flood_before_the_answer_ends_the_connection() -> None:
    async with (
        serving(upgrade_to_echo(asyncio.Event())) as server,
        server.connect() as (reader, writer),
    ):
        writer.write(UPGRADE + bytes(1 << 20))

        assert await read_all(reader) == b""


# --- where requests come from ---------------------------------------------------------


async def test_a_unix_socket_tells_which_process_asks(tmp_path: Path) -> None:
    handler = Recorder()
    path = str(tmp_path / "s")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    server = await serve(handler, [listening])
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(LAST)
    await read_all(reader)
    writer.close()
    await server.close()

    assert handler.requests[0].peer == Peer(
        user_id=os.getuid(), group_id=os.getgid(), process_id=os.getpid()
    )


async def test_closing_the_server_ends_idle_connections_and_running_requests() -> None:
    cancelled = asyncio.Event()

    async def hang(_request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with (
        serving(hang) as server,
        server.connect() as (idle, _),
        server.connect() as (busy, writer),
    ):
        writer.write(GET)
        await asyncio.sleep(0.05)
        await server.server.close()

        assert await read_all(idle) == b""
        assert await read_all(busy) == b""
        assert cancelled.is_set()
