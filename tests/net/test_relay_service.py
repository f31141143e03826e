"""A relay server at work, without the kernel's help: addresses, lifetimes, what it tells."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from tests.net.waiting import eventually

from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import DerpNode, DerpRegion, Endpoint, IPAddress
from gatepost.net.relay_ports import NoForwarder
from gatepost.net.relay_server import MOST_ADDRESSES, RelayService
from gatepost.net.stun_server import serve_stun, stun_socket
from gatepost.wire.disco_relay import AllocateRequest, Allocation

OWN = ip_address("192.0.2.1")
STATIC = Endpoint(ip_address("203.0.113.5"), 41650)


@dataclass
class Bed:
    """A relay on a free port. `own` are this machine's addresses."""

    own: list[IPAddress] = field(default_factory=lambda: [OWN])
    static: tuple[Endpoint, ...] = (STATIC,)
    ports: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.service = RelayService(
            port=0,
            static=self.static,
            own_addresses=lambda: self.own,
            forwarder=NoForwarder("not in this test"),
            on_port=self.ports.append,
        )

    @property
    def port(self) -> int:
        return self.ports[0]

    def addresses(self) -> tuple[Endpoint, ...]:
        return self.service.state().addresses

    def allocate(self) -> Allocation | None:
        one, other = (DiscoPublic(secrets.token_bytes(32)) for _ in range(2))
        answer = self.service.allocate(one, AllocateRequest((one, other), 1))
        return answer.allocation if answer else None


@asynccontextmanager
async def running(bed: Bed) -> AsyncGenerator[Bed]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bed.service.run())
        await eventually(lambda: bed.service.is_ready)
        yield bed
        task.cancel()


async def test_static_addresses_are_told_first_then_our_own_with_the_open_port() -> None:
    async with running(Bed()) as bed:
        place = bed.allocate()

        assert place is not None
        assert place.addresses == (STATIC, Endpoint(OWN, bed.port))


async def test_before_the_port_is_open_nobody_gets_a_place() -> None:
    assert Bed().allocate() is None


async def test_what_a_stun_server_sees_is_told_too() -> None:
    stun = stun_socket(IPv4Address("127.0.0.1"), 0)
    server = DerpNode(
        name="1a",
        host="127.0.0.1",
        address_v4=IPv4Address("127.0.0.1"),
        stun_port=int(stun.getsockname()[1]),
    )
    answers = serve_stun([stun])
    async with running(Bed(own=[])) as bed:
        bed.service.set_regions((DerpRegion(id=1, code="a", name="A", nodes=(server,)),))
        seen = Endpoint(ip_address("127.0.0.1"), bed.port)
        await eventually(lambda: seen in bed.addresses())
    answers.close()


async def test_a_new_address_of_the_machine_is_told_when_the_network_changes() -> None:
    async with running(Bed()) as bed:
        bed.own.append(ip_address("192.0.2.9"))
        bed.service.poke()

        assert Endpoint(ip_address("192.0.2.9"), bed.port) in bed.addresses()


async def test_clients_are_not_told_more_addresses_than_they_can_try() -> None:
    many = [ip_address(int(IPv4Address("10.0.0.0")) + i) for i in range(200)]
    async with running(Bed(own=many)) as bed:
        assert len(bed.addresses()) == MOST_ADDRESSES
        assert bed.addresses()[0] == STATIC


async def test_the_state_counts_places_and_says_who_forwards() -> None:
    async with running(Bed()) as bed:
        bed.allocate()
        state = bed.service.state()

        assert (state.places, state.bound, state.trouble) == (1, 0, "not in this test")
