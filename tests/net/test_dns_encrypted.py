"""DNS over TLS, HTTPS and HTTP, against small servers with certificates of their own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rrset
import h2.config
import h2.connection
import h2.events
import pytest
from tests.net.test_dns_server import answered as plain
from tests.net.test_dns_server import name_server, silent

from gatepost.model.names import NameServer
from gatepost.net.dns_https import HttpServers
from gatepost.net.dns_tls import TlsServers
from gatepost.net.dns_upstream import Upstreams
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import utc_now
from gatepost.sessions.dns_messages import Message, address_query
from gatepost.sessions.doh_requests import MEDIA_TYPE

HOST, HERE = "dns.example", ip_address("127.0.0.1")


def answered(raw: bytes, address: str = "192.0.2.1") -> bytes:
    query = dns.message.from_wire(raw)
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", address))
    return reply.to_wire()


def address_of(answer: Message | None) -> str:
    assert answer is not None
    return answer.answer[0].to_text().rsplit(" ", 1)[1]


@dataclass
class Server:
    """What it was asked, over how many connections. `answer` may misbehave."""

    answer: Callable[[bytes], bytes | None] = answered
    asked: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    hang_up_after: int = 1 << 30
    port: int = 0

    async def on_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak DNS over TLS; the answers to two questions at once come the other way round."""
        self.connections += 1
        held = list[bytes]()
        with contextlib.suppress(EOFError, OSError):
            for _ in range(self.hang_up_after):
                raw = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                self.asked.append(raw)
                if (reply := self.answer(raw)) is not None:
                    held.insert(0, reply)
                if len(held) > 1 or b"alone" in raw:
                    writer.writelines(len(each).to_bytes(2) + each for each in held)
                    held.clear()
        writer.close()

    async def on_https(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak DNS over HTTP/2."""
        self.connections += 1
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        bodies = dict[int, bytes]()
        with contextlib.suppress(OSError):
            while True:
                writer.write(connection.data_to_send())
                arrived = await reader.read(65536)
                if not arrived:
                    return
                for event in connection.receive_data(arrived):
                    self._on(event, connection, bodies)

    def _on(
        self,
        event: h2.events.Event,
        connection: h2.connection.H2Connection,
        bodies: dict[int, bytes],
    ) -> None:
        if isinstance(event, h2.events.DataReceived):
            stream = event.stream_id or 0
            bodies[stream] = bodies.get(stream, b"") + (event.data or b"")
        elif isinstance(event, h2.events.StreamEnded):
            stream = event.stream_id or 0
            raw = bodies.pop(stream)
            self.asked.append(raw)
            reply = self.answer(raw)
            status = "200" if reply is not None else "503"
            connection.send_headers(stream, [(":status", status), ("content-type", MEDIA_TYPE)])
            connection.send_data(stream, reply or b"busy", end_stream=True)

    async def on_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak DNS over HTTP/1.1, one question a connection."""
        self.connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        raw = await reader.readexactly(length)
        self.asked.append(raw)
        body = self.answer(raw) or b""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()


@dataclass
class Bed:
    """A certificate, and clients that believe it."""

    directory: Path
    stack: contextlib.AsyncExitStack
    upstreams: Upstreams = field(init=False)

    def __post_init__(self) -> None:
        self.file = own_certificate(
            self.directory / "certificate.pem", (HOST, "127.0.0.1"), utc_now()
        ).path

        def trust(*protocols: str) -> ssl.SSLContext:
            context = ssl.create_default_context(cafile=str(self.file))
            if protocols:
                context.set_alpn_protocols(protocols)
            return context

        loop = asyncio.get_running_loop()
        self.upstreams = Upstreams(
            loop.time, tls=TlsServers(trust()), http=HttpServers(trust("h2", "http/1.1"))
        )

    async def start(self, server: Server, how: str, *, host: str = HOST) -> NameServer:
        """Serve `how` and return how it is asked."""
        speak = {"tls": server.on_tls, "https": server.on_https, "old": server.on_http}[how]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file)
        if how != "tls":
            context.set_alpn_protocols(["h2" if how == "https" else "http/1.1"])
        listening = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=context)
        self.stack.callback(listening.close)
        server.port = listening.sockets[0].getsockname()[1]
        return NameServer(
            transport="tls" if how == "tls" else "https",
            addresses=(HERE,),
            port=server.port,
            host=host,
            path="" if how == "tls" else "/dns-query",
        )

    async def ask(self, *servers: NameServer, name: str = "alone.example") -> Message | None:
        return await self.upstreams.ask(servers, address_query(name, "A"))


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncGenerator[Bed]:
    async with contextlib.AsyncExitStack() as stack:
        made = Bed(tmp_path, stack)
        yield made
        await made.upstreams.close()


@pytest.mark.parametrize("how", ["tls", "https", "old"])
async def test_a_server_behind_tls_is_asked(bed: Bed, how: str) -> None:
    server = Server()
    at = await bed.start(server, how)

    assert address_of(await bed.ask(at)) == "192.0.2.1"


@pytest.mark.parametrize("how", ["tls", "https"])
async def test_questions_side_by_side_share_one_connection(bed: Bed, how: str) -> None:
    server = Server()
    at = await bed.start(server, how)
    answers = await asyncio.gather(
        *(bed.ask(at, name=f"{n}.example") for n in ("one", "two", "three", "alone"))
    )

    assert [str(a.question[0].name) for a in answers if a] == [
        "one.example.", "two.example.", "three.example.", "alone.example.",
    ]  # fmt: skip
    assert server.connections == 1


@pytest.mark.parametrize("how", ["tls", "https"])
async def test_a_certificate_of_another_name_is_not_believed(bed: Bed, how: str) -> None:
    server = Server()
    at = await bed.start(server, how, host="other.example")

    assert await bed.ask(at) is None
    assert server.asked == []


async def test_after_a_server_hung_up_the_next_question_has_a_new_connection(bed: Bed) -> None:
    server = Server(hang_up_after=1)
    at = await bed.start(server, "tls")
    first, second = await bed.ask(at), await bed.ask(at)

    assert (address_of(first), address_of(second)) == ("192.0.2.1", "192.0.2.1")
    assert server.connections == 2


@pytest.mark.parametrize("how", ["tls", "https", "old"])
async def test_an_answer_to_another_question_is_not_believed(bed: Bed, how: str) -> None:
    def lying(raw: bytes) -> bytes:
        number = dns.message.from_wire(raw).id
        return answered(dns.message.make_query("bank.example", "A", id=number).to_wire())

    at = await bed.start(Server(lying), how)

    assert await bed.ask(at) is None


async def test_the_next_server_answers_when_one_is_busy(bed: Bed) -> None:
    busy, good = Server(lambda _raw: None), Server()
    answer = await bed.ask(await bed.start(busy, "https"), await bed.start(good, "https"))

    assert address_of(answer) == "192.0.2.1"
    assert busy.asked


@pytest.mark.parametrize(("how", "number"), [("tls", None), ("https", 0)])
async def test_questions_are_all_of_one_length_outside(
    bed: Bed, how: str, number: int | None
) -> None:
    server = Server()
    at = await bed.start(server, how)
    for name in ("alone.example", "alone.a-much-longer-name.example"):
        await bed.ask(at, name=name)
    numbers = {dns.message.from_wire(raw).id for raw in server.asked}

    assert {len(raw) for raw in server.asked} == {128}
    assert number is None or numbers == {number}


async def test_a_peer_is_asked_over_http_in_the_clear(bed: Bed) -> None:
    server = Server()
    listening = await asyncio.start_server(server.on_http, "127.0.0.1", 0)
    bed.stack.callback(listening.close)
    port: int = listening.sockets[0].getsockname()[1]
    peer = NameServer(
        transport="http", addresses=(HERE,), port=port, host="127.0.0.1", path="/dns-query"
    )

    assert address_of(await bed.ask(peer)) == "192.0.2.1"


async def test_where_a_server_is_is_asked_of_the_first_one(bed: Bed) -> None:
    server = Server()
    at = await bed.start(server, "tls")
    unknown = NameServer(transport="tls", port=at.port, host=HOST)
    async with name_server(lambda q: [plain(q, "127.0.0.1").to_wire()]) as (asked, first):
        bed.upstreams.first = lambda: (first,)
        answers = [await bed.ask(unknown) for _ in range(2)]

    assert [address_of(a) for a in answers] == ["192.0.2.1", "192.0.2.1"]
    assert len(asked.asked) == 2  # A and AAAA, once


async def test_a_first_server_that_is_silent_does_not_hide_where_another_one_is(bed: Bed) -> None:
    at = await bed.start(Server(), "tls")
    unknown = NameServer(transport="tls", port=at.port, host=HOST)
    async with (
        name_server(silent) as (_, dead),
        name_server(lambda q: [plain(q, "127.0.0.1").to_wire()]) as (_, alive),
    ):
        bed.upstreams.first = lambda: (dead, alive)
        answer = await bed.ask(unknown)

    assert address_of(answer) == "192.0.2.1"


async def test_without_anybody_to_say_where_a_server_is_it_is_not_asked(bed: Bed) -> None:
    assert await bed.ask(NameServer(transport="tls", port=853, host=HOST)) is None
