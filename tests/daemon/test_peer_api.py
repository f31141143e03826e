"""The peer API of a daemon: there while it is wanted, at a port that is free."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.net.waiting import eventually

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.learned_names_file import STATE
from gatepost.daemon.peer_api import PeerApiService, make_peer_api
from gatepost.daemon.store import Store
from gatepost.model.names import NameServer
from gatepost.model.peer_api import AnswerPeers, PeerApi, WatchPeerApi
from gatepost.model.process import WatchNames
from gatepost.net.dns_resolver import Resolver
from gatepost.sessions.dns_messages import Message, Query
from gatepost.testing.makers import make_netmap, make_node

ME, PEER = ip_address("127.0.0.1"), ip_address("127.0.0.2")
KNOWN = b'{"domains": ["wiki.example"], "names": {"wiki.example": {"203.0.113.1": 99999999999.0}}}'


async def nobody_answers(_servers: tuple[NameServer, ...], _query: Query) -> Message | None:
    return None


@dataclass(slots=True)
class Bed:
    store: Store
    inputs: Inputs = field(default_factory=Inputs)

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncGenerator[PeerApiService]:
        resolver = Resolver(nobody_answers, lambda: 0.0)
        made = make_peer_api(
            store=self.store,
            inputs=self.inputs,
            desk=resolver.desk,
            announce=lambda: None,
            now=lambda: 1_800_000_000.0,
        )
        me, peer = make_node(1, addresses=(ME,)), make_node(2, addresses=(PEER,))
        made.set_netmap(make_netmap(me=me, others=(peer,)))
        try:
            yield made
        finally:
            await made.close()
            await resolver.close()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    store = Store.open(tmp_path)
    yield Bed(store)
    store.close()


def free_port() -> int:
    with socket.create_server((str(ME), 0)) as listening:
        return int(listening.getsockname()[1])


async def ask(port: int) -> bytes:
    """Ask who is there, as the peer; b"" when nobody is."""
    try:
        reader, writer = await asyncio.open_connection(str(ME), port, local_addr=(str(PEER), 0))
    except OSError:
        return b""
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {ME}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.transport.abort()


async def answers(port: int) -> bool:
    return b"This is box1" in await ask(port)


async def until(port: int, *, there: bool) -> None:
    async with asyncio.timeout(10):
        while await answers(port) is not there:  # noqa: ASYNC110  # a socket has no event
            await asyncio.sleep(0.005)


async def test_it_is_there_while_it_is_wanted(bed: Bed) -> None:
    port = free_port()
    async with bed.service() as service:
        assert not await answers(port)
        service.replace([PeerApi(port)], (ME,))
        await until(port, there=True)
        service.replace([PeerApi(port), AnswerPeers("")], (ME,))  # the same place
        assert await answers(port)
        service.replace([], (ME,))
        await until(port, there=False)


async def test_it_moves_when_the_port_is_another(bed: Bed) -> None:
    one, other = free_port(), free_port()
    async with bed.service() as service:
        service.replace([PeerApi(one)], (ME,))
        await until(one, there=True)
        service.replace([PeerApi(other)], (ME,))
        await until(other, there=True)
        assert not await answers(one)


async def test_a_port_that_somebody_has_is_told_and_the_next_is_tried(bed: Bed) -> None:
    with socket.create_server((str(ME), 0)) as others:
        async with bed.service() as service:
            service.replace([PeerApi(int(others.getsockname()[1]))], (ME,))
            await eventually(service.notices)

            assert [n.code for n in service.notices()] == ["peer-api-failed"]
            assert bed.inputs.observed.get(WatchPeerApi(), 0) == 1
            port = free_port()
            service.replace([PeerApi(port)], (ME,))
            await until(port, there=True)
            assert service.notices() == ()


async def test_without_addresses_in_the_mesh_it_is_nowhere(bed: Bed) -> None:
    port = free_port()
    async with bed.service() as service:
        service.replace([PeerApi(port)], ())

        assert not await answers(port)
        assert service.notices() == ()


async def test_what_was_learned_is_observed_before_anybody_asks(bed: Bed) -> None:
    bed.store.save(STATE, KNOWN)
    async with bed.service() as service:
        watch = WatchNames("wiki.example")

        assert bed.inputs.observed.get(watch, frozenset()) == {ip_address("203.0.113.1")}
        assert service.names.learned.known("wiki.example") == {ip_address("203.0.113.1")}


async def test_a_broken_file_of_learned_names_is_no_obstacle(bed: Bed) -> None:
    bed.store.save(STATE, b"nonsense")
    async with bed.service() as service:
        assert service.notices() == ()


async def test_the_last_version_is_written_at_the_end(bed: Bed) -> None:
    async with bed.service() as service:
        for number in range(5):
            service.file.save(b"%d" % number)

    assert bed.store.load(STATE) == b"4"
