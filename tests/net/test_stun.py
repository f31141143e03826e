"""The STUN server over loopback sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from tests.net.waiting import eventually

from gatepost.model.netmap import Endpoint
from gatepost.net.stun_server import SOURCE_RATE, StunServer, serve_stun, stun_socket
from gatepost.wire.stun import read_answer, write_request

TRANSACTION = bytes(range(1, 13))


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Asker:
    """A client's socket on one address of the loopback interface."""

    def __init__(self, address: str) -> None:
        self._sock = stun_socket(ip_address(address), 0)
        self._sock.setblocking(False)
        self.endpoint = Endpoint(ip_address(address), self._sock.getsockname()[1])

    def close(self) -> None:
        self._sock.close()

    async def ask(self, server: tuple[str, int], packet: bytes) -> tuple[bytes, tuple[str, int]]:
        """Send and wait for an answer and its source."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(self._sock, packet, server)
        async with asyncio.timeout(5):
            answer, source = await loop.sock_recvfrom(self._sock, 2000)
        return answer, (source[0], source[1])

    async def tell(self, server: tuple[str, int], packet: bytes) -> None:
        await asyncio.get_running_loop().sock_sendto(self._sock, packet, server)

    def heard(self) -> int:
        """Count the answers that have come and were not asked for with `ask`."""
        count = 0
        while True:
            try:
                self._sock.recv(2000)
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def serving(*binds: str, clock: Clock | None = None) -> Generator[tuple[StunServer, list[int]]]:
    """Serve on a free port of each address."""
    sockets = [stun_socket(ip_address(address), 0) for address in binds]
    server = serve_stun(sockets, clock)
    try:
        yield server, [sock.getsockname()[1] for sock in sockets]
    finally:
        server.close()


@contextmanager
def asking(address: str) -> Generator[Asker]:
    asker = Asker(address)
    try:
        yield asker
    finally:
        asker.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_asker_learns_its_own_address(address: str) -> None:
    with serving(address) as (_, (port,)), asking(address) as asker:
        answer, _ = await asker.ask((address, port), write_request(TRANSACTION))

    assert read_answer(answer) == (TRANSACTION, asker.endpoint)


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.2", "127.9.9.9"])
async def test_a_wildcard_socket_answers_from_the_address_that_was_asked(asked: str) -> None:
    with serving("0.0.0.0", "::") as (_, (port, _)), asking("127.0.0.1") as asker:
        _, source = await asker.ask((asked, port), write_request(TRANSACTION))

    assert source == (asked, port)


async def test_a_dual_stack_socket_tells_an_ipv4_asker_its_ipv4_address() -> None:
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = both.getsockname()[1]
    both.close()
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    server = serve_stun([sock])
    try:
        with asking("127.0.0.1") as asker:
            answer, source = await asker.ask(("127.0.0.2", port), write_request(TRANSACTION))
    finally:
        server.close()

    assert read_answer(answer)[1] == asker.endpoint
    assert source == ("127.0.0.2", port)


async def test_garbage_gets_no_answer_and_is_counted() -> None:
    request = write_request(TRANSACTION)
    garbage = [b"", b"\0", request[:-1], bytes(1500), request[:39] + b"\0"]
    with serving("127.0.0.1") as (server, (port,)), asking("127.0.0.1") as asker:
        for packet in garbage:
            await asker.tell(("127.0.0.1", port), packet)
        await asker.ask(("127.0.0.1", port), request)

        assert asker.heard() == 0
        assert server.counters().refused == len(garbage)
        assert server.counters().answered == 1


async def test_one_source_gets_so_many_answers_a_second() -> None:
    clock = Clock()
    target = "127.0.0.1"
    request = write_request(TRANSACTION)
    with serving(target, clock=clock) as (server, (port,)), asking(target) as asker:
        for _ in range(int(SOURCE_RATE)):
            await asker.ask((target, port), request)
        await asker.tell((target, port), request)
        await eventually(lambda: server.counters().limited)
        clock.now += 1.0
        answer, _ = await asker.ask((target, port), request)

    assert read_answer(answer)[0] == TRANSACTION
    assert server.counters().limited == 1


async def test_a_closed_server_lets_its_port_go() -> None:
    with serving("127.0.0.1") as (server, (port,)):
        server.close()
        server.close()
        stun_socket(ip_address("127.0.0.1"), port).close()


def test_a_port_in_use_is_an_error() -> None:
    first = stun_socket(ip_address("127.0.0.1"), 0)
    try:
        with pytest.raises(OSError, match="in use"):
            stun_socket(ip_address("127.0.0.1"), first.getsockname()[1])
    finally:
        first.close()
