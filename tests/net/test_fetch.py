"""One small HTTP request, and servers that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from tests.net.serving import serving

from gatepost.errors import Malformed, UnreachableError
from gatepost.net.fetch import LIMIT, Question, Reply, fetch
from gatepost.net.http_server import Request, Response


async def ask(port: int, body: bytes | None = None, seconds: float = 5.0) -> Reply:
    question = Question(
        host="127.0.0.1", port=port, target="/a?b=c", headers={"X-Word": "hello"}, body=body
    )
    return await fetch(question, seconds=seconds)


@contextlib.asynccontextmanager
async def babbling(answer: bytes, *, hold: bool = False) -> AsyncGenerator[int]:
    """Serve the same bytes to everybody, and close or hold the connection; yield the port."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if hold:
            await done.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        done.set()


@pytest.mark.parametrize("body", [None, b"", b"<soap/>"])
async def test_a_question_arrives_and_its_answer_comes_back(body: bytes | None) -> None:
    async def handle(request: Request) -> Response:
        told = f"{request.method} {request.path} {request.headers.get('x-word')}".encode()
        return Response(status=202, headers=(("X-Back", "yes"),), body=told + request.body)

    async with serving(handle) as here:
        reply = await ask(here.port, body)

    method = b"GET" if body is None else b"POST"
    assert (reply.status, reply.body) == (202, method + b" /a hello" + (body or b""))
    assert reply.headers["x-back"] == "yes"
    assert 0 < reply.first_byte < 5


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async with babbling(b"HTTP/1.0 200 OK\r\n\r\nall of it") as port:
        assert (await ask(port)).body == b"all of it"


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_not_http_is_malformed(answer: bytes) -> None:
    async with babbling(answer) as port:
        with pytest.raises(Malformed, match="HTTP"):
            await ask(port)


async def test_an_endless_answer_is_cut() -> None:
    async with babbling(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(LIMIT + 1)) as port:
        with pytest.raises(Malformed, match=str(LIMIT)):
            await ask(port)


async def test_half_an_answer_is_none() -> None:
    async with babbling(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") as port:
        with pytest.raises((UnreachableError, Malformed)):
            await ask(port)


async def test_a_silent_server_is_given_up() -> None:
    async with babbling(b"", hold=True) as port:
        with pytest.raises(UnreachableError, match=r"no answer in 0.1 s"):
            await ask(port, seconds=0.1)


async def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(UnreachableError):
        await ask(1)


def test_the_authority_names_the_port_unless_it_is_the_usual_one() -> None:
    assert Question(host="192.0.2.1", port=80, target="/").authority == "192.0.2.1"
    assert Question(host="2001:db8::1", port=8080, target="/").authority == "[2001:db8::1]:8080"
