"""Block lists are read from files and https:// addresses, whatever is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.plugins.lan_dns.test_lan_dns import LAN, Context

from gatepost.errors import GatepostError, UnreachableError
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import utc_now
from gatepost_plugins.lan_dns.lists import MOST_MOVES, Lists
from gatepost_plugins.lan_dns.serving import (
    AGAIN,
    FIRST_AGAIN,
    LAST_AGAIN,
    Parameters,
    WatchLists,
    pause_after,
    serve,
)

LIST = b"ads.example\n"


def answer(body: bytes, status: str = "200 OK", *, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@dataclass
class Web:
    """A server with a certificate of its own. `pages` are whole answers, by their path.

    What is behind the path "/drip" comes byte by byte and has no end.
    """

    trust: ssl.SSLContext
    pages: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[str] = field(default_factory=list[str])
    port: int = 0

    def address(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.asked.append(path)
            writer.write(self.pages.get(path, answer(b"", "404 Not Found")))
            while path == "/drip":
                writer.write(b"x")
                await writer.drain()  # ends this when the client has gone
                await asyncio.sleep(0.01)
        writer.close()


@contextlib.asynccontextmanager
async def web(directory: Path) -> AsyncGenerator[Web]:
    file = own_certificate(directory / "certificate.pem", ("127.0.0.1",), utc_now()).path
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    made = Web(ssl.create_default_context(cafile=str(file)))
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()


async def test_a_list_is_followed_to_where_it_has_moved(tmp_path: Path) -> None:
    async with web(tmp_path) as there:
        there.pages = {
            "/old?v=1": answer(b"", "302 Found", more="Location: new\r\n"),
            "/new": answer(LIST),
        }
        names = await Lists(trust=there.trust).read(there.address("/old?v=1"))

    assert names == {"ads.example"}
    assert there.asked == ["/old?v=1", "/new"]


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("my list?a b", "/my%20list?a%20b"),
        ("my%20list?a%20b", "/my%20list?a%20b"),
        ("/é", "/%C3%A9"),
        ("/a\x7fb", "/a%7Fb"),
    ],
)
async def test_an_address_may_have_what_cannot_be_sent_as_it_is(
    tmp_path: Path, where: str, asked: str
) -> None:
    async with web(tmp_path) as there:
        there.pages = {
            "/": answer(b"", "302 Found", more=f"Location: {where}\r\n"),
            asked: answer(LIST),
        }
        assert await Lists(trust=there.trust).read(there.address("")) == {"ads.example"}


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1/list",
        "file:///etc/shadow",
        "ftp://x/y",
        "https://user@host/",
        "https://:1/x",
    ],
)
async def test_a_list_is_not_followed_to_odd_places(tmp_path: Path, where: str) -> None:
    async with web(tmp_path) as there:
        there.pages["/"] = answer(b"", "301 Moved", more=f"Location: {where}\r\n")
        with pytest.raises(GatepostError, match=r"it has moved to .*not followed"):
            await Lists(trust=there.trust).read(there.address(""))

    assert there.asked == ["/"]


async def test_a_list_that_always_moves_on_is_given_up(tmp_path: Path) -> None:
    async with web(tmp_path) as there:
        there.pages["/"] = answer(b"", "301 Moved", more="Location: /\r\n")
        with pytest.raises(GatepostError, match="moved more than 5 times"):
            await Lists(trust=there.trust).read(there.address("/"))

    assert len(there.asked) == MOST_MOVES + 1


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_server_that_drips_is_given_up(tmp_path: Path, head: bytes) -> None:
    async with web(tmp_path) as there:
        there.pages["/drip"] = head
        with pytest.raises(UnreachableError, match=r"not there whole after 0\.3 s"):
            await Lists(trust=there.trust, patience=0.3).read(there.address("/drip"))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (answer(b"x" * 2000), "over 1,000 bytes"),
        (answer(LIST, "500 Oops"), "status 500"),
        (answer(LIST)[:-3], "hung up|does not speak HTTP"),
        (b"", "hung up|does not speak HTTP"),
        (b"SSH-2.0\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_what_is_no_list_is_said(tmp_path: Path, raw: bytes, text: str) -> None:
    async with web(tmp_path) as there:
        there.pages["/"] = raw
        with pytest.raises(GatepostError, match=text):
            await Lists(trust=there.trust, largest=1000).read(there.address("/"))


async def test_a_server_with_a_certificate_of_somebody_else_is_not_asked(tmp_path: Path) -> None:
    async with web(tmp_path) as there:
        with pytest.raises(OSError, match="certificate verify failed"):
            await Lists().read(there.address("/"))

    assert there.asked == []


async def test_a_pipe_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(GatepostError, match="it is no file"):
        await Lists().read(str(tmp_path / "pipe"))


async def test_a_slow_server_keeps_no_other_list_back(tmp_path: Path) -> None:
    context = Context()
    async with web(tmp_path) as there:
        there.pages |= {"/drip": b"", "/list": answer(LIST)}
        names = (there.address("/drip"), there.address("/list"))
        reader = Lists(trust=there.trust, patience=0.3)
        running = asyncio.get_running_loop().create_task(
            serve(context, Parameters(sources=(LAN,), lists=names, reader=reader))
        )
        async with asyncio.timeout(10):
            await context.blocking.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert context.views[-1].blocked == {"ads.example"}
    assert "/drip: it was not there whole" in str(context.told[WatchLists()])


def test_a_list_that_failed_is_asked_for_soon_and_then_seldom() -> None:
    pauses = [pause_after(failures) for failures in range(1, 5000)]

    assert (pauses[0], pauses[1], pauses[-1]) == (FIRST_AGAIN, 2 * FIRST_AGAIN, LAST_AGAIN)
    assert pauses == sorted(pauses)
    assert pause_after(0) == AGAIN
