"""The HTTP server for peers, asked over real sockets; loopback addresses stand for the mesh's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.exception
import dns.message
import pytest

from gatepost.errors import Malformed
from gatepost.model.netmap import NetMap, Node
from gatepost.net.peer_api import LIMITS, PeerApiServer, open_sockets
from gatepost.testing.makers import make_netmap, make_node, make_rule

ME, PEER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
QUERY = dns.message.make_query("wiki.example.", "A")
MAY_ASK = (make_rule(f"{PEER}/32", "0.0.0.0/0", 53, 53),)


@dataclass(slots=True)
class Resolver:
    """Echoes a query as an answer, when it is told to."""

    may_go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Node] = field(default_factory=list[Node])

    async def answer(self, query: bytes, peer: Node) -> bytes:
        self.asked.append(peer)
        await self.may_go.wait()
        try:
            return dns.message.make_response(dns.message.from_wire(query)).to_wire()
        except dns.exception.DNSException as error:
            raise Malformed("this is no query") from error


@dataclass(frozen=True, slots=True)
class Bed:
    api: PeerApiServer
    resolver: Resolver
    port: int

    async def ask(self, text: str, body: bytes = b"", source: str = PEER) -> bytes:
        """Send a request from an address and return all that comes back."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(ME, self.port, local_addr=(source, 0))
            try:
                head = f"{text} HTTP/1.1\r\nHost: {ME}:{self.port}\r\nConnection: close\r\n"
                extra = (
                    "Content-Type: application/dns-message\r\n"
                    f"Content-Length: {len(body)}\r\n" if body else ""
                )  # fmt: skip
                writer.write(f"{head}{extra}\r\n".encode() + body)
                with contextlib.suppress(ConnectionResetError):
                    return await reader.read()
                return b""
            finally:
                writer.transport.abort()


def make_mesh() -> NetMap:
    me = make_node(1, addresses=(ip_address(ME),), user=1)
    return make_netmap(
        me=me, others=(make_node(2, addresses=(ip_address(PEER),), user=2),), rules=MAY_ASK
    )


@contextlib.asynccontextmanager
async def serving(*, names: bool = True) -> AsyncGenerator[Bed]:
    resolver = Resolver()
    resolver.may_go.set()
    api = PeerApiServer(netmap=make_mesh(), answer=resolver.answer if names else None)
    sockets = open_sockets((ip_address(ME),), 0)
    server = await api.serve(sockets)
    try:
        yield Bed(api, resolver, sockets[0].getsockname()[1])
    finally:
        await server.close()


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


async def test_a_peer_is_told_who_is_who() -> None:
    async with serving() as bed:
        answer = await bed.ask("GET /")

    assert status(answer) == 200
    assert b"This is box1.mesh.example. You are box2.mesh.example." in answer
    assert b"default-src 'none'" in answer


@pytest.mark.parametrize("source", [STRANGER, ME])
async def test_nobody_else_gets_a_word(source: str) -> None:
    async with serving() as bed:
        assert await bed.ask("GET /", source=source) == b""


async def test_without_a_netmap_there_are_no_peers() -> None:
    async with serving() as bed:
        bed.api.netmap = None

        assert await bed.ask("GET /") == b""


async def test_a_query_is_answered_for_the_peer_that_asks() -> None:
    async with serving() as bed:
        answer = await bed.ask("POST /dns-query", QUERY.to_wire())
        body = answer.partition(b"\r\n\r\n")[2]

        assert status(answer) == 200
        assert b"Content-Type: application/dns-message" in answer
        assert dns.message.from_wire(body).id == QUERY.id
        assert [p.id for p in bed.resolver.asked] == [2]


@pytest.mark.parametrize(
    ("text", "body", "wanted"),
    [
        ("GET /dns-query?q=wiki.example", b"", 200),
        ("GET /dns-query?q=..", b"", 400),
        ("GET /dns-query", b"", 400),
        ("POST /dns-query", b"nonsense", 400),
        ("POST /dns-query", bytes(70000), 413),
        ("PUT /dns-query", QUERY.to_wire(), 405),
        ("DELETE /", b"", 405),
        ("GET /v0/put/secret", b"", 404),
        ("GET /../etc/passwd", b"", 404),
    ],
)
async def test_every_mistake_has_its_answer(text: str, body: bytes, wanted: int) -> None:
    async with serving() as bed:
        assert status(await bed.ask(text, body)) == wanted


async def test_a_node_that_answers_no_names_says_so() -> None:
    async with serving(names=False) as bed:
        assert status(await bed.ask("POST /dns-query", QUERY.to_wire())) == 501


async def test_a_peer_without_the_right_is_refused() -> None:
    async with serving() as bed:
        bed.api.netmap = make_netmap(me=make_mesh().me, others=make_mesh().peers, rules=())

        assert status(await bed.ask("POST /dns-query", QUERY.to_wire())) == 403
        assert bed.resolver.asked == []


async def test_a_web_page_cannot_ask_in_its_users_name() -> None:
    async with serving() as bed:
        answer = await bed.ask("GET / HTTP/1.1\r\nOrigin: http://evil.example\r\nX: y")

    assert status(answer) in {400, 403}


async def test_one_peer_cannot_have_all_connections() -> None:
    async with serving() as bed, asyncio.timeout(10):
        held = [
            await asyncio.open_connection(ME, bed.port, local_addr=(PEER, 0))
            for _ in range(LIMITS.per_address)
        ]
        refused = await bed.ask("GET /")
        for _, writer in held:
            writer.transport.abort()

    assert refused == b""


def test_all_addresses_are_bound_or_none() -> None:
    taken = socket.create_server((ME, 0))
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        open_sockets((ip_address(PEER), ip_address(ME)), port)
    free = open_sockets((ip_address(PEER),), port)

    assert free[0].getsockname() == (PEER, port)
    for each in (*free, taken):
        each.close()
