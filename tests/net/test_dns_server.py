"""The resolver on real sockets, between a client and name servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from gatepost.api import DnsRoute, NameView, plain_server
from gatepost.model import names
from gatepost.model.resolver import NamePlan
from gatepost.net.dns_resolver import Resolver
from gatepost.net.dns_server import answer_names, is_own
from gatepost.net.dns_upstream import Upstreams

Reply = Callable[[dns.message.Message], list[bytes]]
HOSTS = (("box2.mesh.example", (ip_address("100.64.0.2"),)),)


def answered(query: dns.message.Message, address: str = "192.0.2.1") -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", address))
    return reply


def honest(query: dns.message.Message) -> list[bytes]:
    return [answered(query).to_wire()]


def silent(_query: dns.message.Message) -> list[bytes]:
    return []


def failing(query: dns.message.Message) -> list[bytes]:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return [reply.to_wire()]


def cut(query: dns.message.Message) -> list[bytes]:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return [reply.to_wire()]


def lying_first(query: dns.message.Message) -> list[bytes]:
    """Send an answer with another number, one to another question, and then the true one."""
    wrong_number = answered(query, "203.0.113.66")
    wrong_number.id = query.id ^ 1
    other = dns.message.make_query("bank.example", "A", id=query.id)
    return [wrong_number.to_wire(), answered(other, "203.0.113.66").to_wire(), b"x", *honest(query)]


def flooding(query: dns.message.Message) -> list[bytes]:
    """Send more guesses than anybody should have to read."""
    guesses = list[bytes]()
    for number in range(30):
        guess = answered(query, "203.0.113.66")
        guess.id = (query.id + 1 + number) & 0xFFFF
        guesses.append(guess.to_wire())
    return [*guesses, answered(query, "203.0.113.66").to_wire()]


def lowering(query: dns.message.Message) -> list[bytes]:
    """Answer to the name in small letters, as somebody must who only guesses it."""
    said = dns.message.make_query(query.question[0].name.to_text().lower(), "A", id=query.id)
    return [answered(said, "203.0.113.66").to_wire()]


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """A name server with a manner of answering on UDP; on TCP it is always honest."""

    manner: Reply = honest
    asked: list[dns.message.Message] = field(default_factory=list[dns.message.Message])
    asked_from: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:  # asyncio's own signature
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        self.asked_from.append((addr[0], addr[1]))
        assert self._transport
        for each in self.manner(query):
            self._transport.sendto(each, addr)

    async def on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = dns.message.from_wire(
            await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        )
        writer.write(answered(query, "192.0.2.7").to_wire(prepend_length=True))
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def name_server(manner: Reply) -> AsyncGenerator[tuple[NameServer, names.NameServer]]:
    server = NameServer(manner)
    tcp = await asyncio.start_server(server.on_tcp, "127.0.0.1", 0)
    port: int = tcp.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", port))
    yield server, plain_server(ip_address("127.0.0.1"), port)
    udp.close()
    tcp.close()


@dataclass
class Client:
    port: int

    async def ask(self, name: str, kind: str = "A", **said: Any) -> dns.message.Message:
        query = dns.message.make_query(name, kind, **said)
        return await dns.asyncquery.udp(query, "127.0.0.1", port=self.port, timeout=8)

    async def address(self, name: str) -> str:
        reply = await self.ask(name)
        assert reply.rcode() == dns.rcode.NOERROR
        return reply.answer[0].to_text().rsplit(" ", 1)[1]


@contextlib.asynccontextmanager
async def resolver(
    *servers: names.NameServer, routes: tuple[DnsRoute, ...] = (), **said: Any
) -> AsyncGenerator[Client]:
    """Run the resolver with these servers for all names that the mesh does not know."""
    routes = routes or ((DnsRoute(suffix="", servers=servers),) if servers else ())
    loop = asyncio.get_running_loop()
    upstreams = Upstreams(loop.time)
    box = Resolver(upstreams.ask, loop.time)
    box.set_plan(NamePlan(suffix="mesh.example", hosts=HOSTS, routes=routes))
    view = replace(NameView(refuses_private=False), **said)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        tcp.setblocking(False)
        udp.setblocking(False)
        running = loop.create_task(answer_names(box, view, (udp.fileno(), tcp.fileno())))
        yield Client(port)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await box.close()
    await upstreams.close()


async def test_a_name_of_the_mesh_is_answered_by_udp_and_tcp() -> None:
    async with resolver() as client:
        query = dns.message.make_query("BOX2.mesh.example", "A")
        by_tcp = await dns.asyncquery.tcp(query, "127.0.0.1", port=client.port, timeout=8)

        assert await client.address("box2.mesh.example") == "100.64.0.2"
        assert by_tcp.answer[0].to_text() == "BOX2.mesh.example. 60 IN A 100.64.0.2"


async def test_a_name_that_the_mesh_does_not_know_is_never_asked_of_anybody() -> None:
    async with name_server(honest) as (server, at), resolver(at) as client:
        reply = await client.ask("nobody.mesh.example")

        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert server.asked == []


async def test_without_servers_other_names_are_refused() -> None:
    async with resolver() as client:
        assert (await client.ask("www.example.org")).rcode() == dns.rcode.REFUSED


async def test_what_was_asked_once_is_not_asked_again() -> None:
    async with name_server(honest) as (server, at), resolver(at) as client:
        for _ in range(4):
            assert await client.address("www.example.org") == "192.0.2.1"

        assert len(server.asked) == 1


async def test_who_asks_at_the_same_time_waits_together() -> None:
    async with name_server(honest) as (server, at), resolver(at) as client:
        await asyncio.gather(*(client.address("www.example.org") for _ in range(20)))

        assert len(server.asked) == 1


async def test_false_answers_are_not_believed() -> None:
    async with name_server(lying_first) as (_, at), resolver(at) as client:
        assert await client.address("www.example.org") == "192.0.2.1"


async def test_an_answer_from_elsewhere_is_not_believed() -> None:
    forger = socket.socket(type=socket.SOCK_DGRAM)
    server: NameServer

    def wait_and_forge(query: dns.message.Message) -> list[bytes]:
        forger.sendto(answered(query, "203.0.113.66").to_wire(), server.asked_from[-1])
        return honest(query)

    with forger:
        async with name_server(wait_and_forge) as (server, at), resolver(at) as client:
            assert await client.address("www.example.org") == "192.0.2.1"


async def test_too_many_false_answers_make_the_question_go_by_tcp() -> None:
    async with name_server(flooding) as (_, at), resolver(at) as client:
        assert await client.address("www.example.org") == "192.0.2.7"


async def test_an_answer_with_other_letters_makes_the_question_go_by_tcp() -> None:
    async with name_server(lowering) as (server, at), resolver(at) as client:
        assert await client.address("a-name-of-many-letters.example.org") == "192.0.2.7"

        (asked,) = server.asked
        name = asked.question[0].name.to_text()
        assert name != name.lower() == "a-name-of-many-letters.example.org."


async def test_numbers_and_ports_differ_from_question_to_question() -> None:
    async with name_server(honest) as (server, at), resolver(at) as client:
        for number in range(12):
            await client.address(f"n{number}.example.org")

        assert len({q.id for q in server.asked}) > 6
        assert len({port for _, port in server.asked_from}) > 6


async def test_a_cut_answer_is_asked_for_by_tcp() -> None:
    async with name_server(cut) as (_, at), resolver(at) as client:
        assert await client.address("www.example.org") == "192.0.2.7"


async def test_the_next_server_answers_when_the_first_is_dead_and_is_first_then() -> None:
    async with (
        name_server(silent) as (dead, first),
        name_server(honest) as (alive, second),
        resolver(first, second) as client,
    ):
        assert await client.address("www.example.org") == "192.0.2.1"
        assert await client.address("ftp.example.org") == "192.0.2.1"

        assert (len(dead.asked), len(alive.asked)) == (1, 2)


async def test_the_next_server_answers_when_the_first_fails_or_is_not_there() -> None:
    gone = plain_server(ip_address("127.0.0.1"), 1)
    async with (
        name_server(failing) as (_, first),
        name_server(honest) as (_, second),
        resolver(gone, first, second) as client,
    ):
        assert await client.address("www.example.org") == "192.0.2.1"


async def test_when_every_server_fails_the_client_is_told() -> None:
    async with name_server(failing) as (_, at), resolver(at) as client:
        assert (await client.ask("www.example.org")).rcode() == dns.rcode.SERVFAIL


async def test_a_public_name_may_not_lead_inside_if_so_wished() -> None:
    def rebinding(query: dns.message.Message) -> list[bytes]:
        return [answered(query, "192.168.1.1").to_wire()]

    async with name_server(rebinding) as (_, at), resolver(at, refuses_private=True) as client:
        reply = await client.ask("www.example.org")

        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
        assert await client.address("printer.lan") == "192.168.1.1"


async def test_garbage_neither_stops_the_resolver_nor_gets_an_answer_to_an_answer() -> None:
    async with resolver() as client:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", client.port))
            for garbage in (
                b"",
                b"x",
                b"\xff" * 40,
                dns.message.make_query("a", "A").to_wire()[:15],
            ):
                sender.send(garbage)

        assert await client.address("box2.mesh.example") == "100.64.0.2"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("100.100.100.100", True), ("127.0.0.1", True), ("fd7a:115c:a1e0::53", True),
        ("192.168.1.5", False), ("100.64.0.2", False), ("fe80::1%3", False),
    ],
)  # fmt: skip
def test_only_this_machine_itself_is_answered(source: str, expected: bool) -> None:
    assert is_own((source, 4000)) is expected


async def test_a_tcp_client_may_ask_again_and_one_that_talks_nonsense_is_cut_off() -> None:
    async with resolver() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        for _ in range(2):
            query = dns.message.make_query("box2.mesh.example", "A")
            writer.write(query.to_wire(prepend_length=True))
            length = int.from_bytes(await reader.readexactly(2))
            reply = dns.message.from_wire(await reader.readexactly(length))
            assert reply.answer
        writer.write(b"\x00\x01x")

        assert await reader.read() == b""
        writer.close()


async def test_a_chosen_suffix_never_goes_to_the_servers_of_all_names() -> None:
    async with name_server(honest) as (server, at):
        doh = DnsRoute(suffix="corp.example", unusable=("sdns://dns.example",))
        routes = (DnsRoute(suffix="", servers=(at,)), doh)
        async with resolver(routes=routes) as client:
            reply = await client.ask("www.corp.example")

        assert reply.rcode() == dns.rcode.SERVFAIL
        assert server.asked == []
