"""Packets of some addresses come to path discovery instead of to WireGuard."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address

import pytest
from tests.net.inside import udp_socket

from gatepost.engine.steering import steering_filter
from gatepost.linux.held import HeldAddresses, held_text
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.net.paths_held import Held
from gatepost.net.tasks import Tasks
from gatepost.testing.netns import Machine, Machines, connect, machines

P, Q = 41641, 41642
DATA = b"\x04\0\0\0" + bytes(60)
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(100)
NO_CHECK = 11  # SO_NO_CHECK: send without checksum
ONE, TWO = (NodePublic(bytes(31) + bytes((n,))) for n in (1, 2))
ADDRESS = Endpoint(ip_address("203.0.113.1"), 5000)
FORMS: Mapping[str, Sequence[IPAddress] | None] = {
    "tracked": None,
    "untracked": (ip_address("10.9.0.1"), ip_address("fd09::1")),
}


@pytest.fixture
def owner() -> Iterator[Machines]:
    with machines() as owned:
        yield owned


@pytest.fixture(params=FORMS)
def pair(owner: Machines, request: pytest.FixtureRequest) -> tuple[Machine, Machine]:
    box, peer = owner.add("box", "peer")
    connect(box, "wan0", peer, "wan0")
    for machine, number in ((box, 1), (peer, 2)):
        machine.ip(
            f"address add 10.9.0.{number}/24 dev wan0",
            f"address add fd09::{number}/64 dev wan0 nodad",
        )
    box.nft(steering_filter(P, FORMS[request.param]).text)
    return box, peer


def arrives(sender: socket.socket, to: str, packet: bytes, reader: socket.socket) -> bool:
    sender.sendto(packet, (to, P))
    try:
        return reader.recv(2048) == packet
    except TimeoutError:
        return False


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_only_what_comes_from_a_held_address_is_held(
    pair: tuple[Machine, Machine], version: int
) -> None:
    box, peer = pair
    anywhere, target, here = (
        ("0.0.0.0", "10.9.0.1", "10.9.0.2") if version == 4 else ("::", "fd09::1", "fd09::2")
    )
    wireguard, discovery = udp_socket(box, anywhere, P), udp_socket(box, anywhere, Q)
    held, other = udp_socket(peer, anywhere, 5000), udp_socket(peer, anywhere, 5001)
    with wireguard, discovery, held, other:
        box.nft(held_text((Endpoint(ip_address(here), 5000),), P))

        assert arrives(held, target, DATA, discovery)
        assert arrives(held, target, DISCO, discovery)
        assert arrives(other, target, DATA, wireguard)
        if version == 4:
            held.setsockopt(socket.SOL_SOCKET, NO_CHECK, 1)
            assert arrives(held, target, DATA, discovery)
        box.nft(held_text((), P))
        assert arrives(held, target, DATA, wireguard)


def test_without_addresses_there_is_no_table() -> None:
    assert "hook" not in held_text((), P)


async def test_what_nft_refuses_is_said_in_its_words() -> None:
    with pytest.raises(OSError, match="nft"):
        await HeldAddresses(program="false").hold((ADDRESS,))


class Filter:
    """Remembers what is held; refuses the first `refusals` times."""

    def __init__(self, refusals: int = 0) -> None:
        self.held: list[tuple[Endpoint, ...]] = []
        self.refusals = refusals
        self.called = asyncio.Event()

    async def __call__(self, endpoints: Iterable[Endpoint]) -> None:
        self.called.set()
        if self.refusals:
            self.refusals -= 1
            raise OSError("nft is away")
        self.held.append(tuple(endpoints))

    async def wait(self) -> None:
        async with asyncio.timeout(10):
            await self.called.wait()
        self.called.clear()


async def test_what_is_held_follows_the_wish_and_ends_with_the_service() -> None:
    filtered, tasks = Filter(), Tasks()
    held = Held(filtered)
    tasks.spawn(held.run(), "held")
    held.hold(ONE, ADDRESS)
    await filtered.wait()
    owner = held.owner(ADDRESS)
    held.hold(ONE, None)
    await filtered.wait()
    held.hold(TWO, ADDRESS)
    await filtered.wait()
    await tasks.close()

    assert owner == ONE
    assert filtered.held == [(ADDRESS,), (), (ADDRESS,), ()]


async def test_what_could_not_be_let_go_is_let_go_at_the_end() -> None:
    filtered, tasks = Filter(), Tasks()
    held = Held(filtered)
    tasks.spawn(held.run(), "held")
    held.hold(ONE, ADDRESS)
    await filtered.wait()
    filtered.refusals = 1
    held.hold(ONE, None)
    await filtered.wait()
    await tasks.close()

    assert filtered.held == [(ADDRESS,), ()]


async def test_a_change_that_was_not_carried_out_yet_leaves_nothing_held() -> None:
    filtered, tasks = Filter(), Tasks()
    held = Held(filtered)
    tasks.spawn(held.run(), "held")
    held.hold(ONE, ADDRESS)
    await filtered.wait()
    held.hold(ONE, None)
    await tasks.close()

    assert filtered.held == [(ADDRESS,), ()]


async def test_who_never_held_anything_asks_nothing_of_the_packet_filter() -> None:
    filtered, tasks = Filter(), Tasks()
    tasks.spawn(Held(filtered).run(), "held")
    await asyncio.sleep(0)
    await tasks.close()

    assert filtered.held == []


async def test_a_packet_filter_that_refuses_is_asked_again() -> None:
    filtered, tasks = Filter(refusals=1), Tasks()
    held = Held(filtered)
    tasks.spawn(held.run(), "held")
    held.hold(ONE, ADDRESS)
    await filtered.wait()
    held.hold(TWO, None)
    await filtered.wait()
    await tasks.close()

    assert filtered.held[0] == (ADDRESS,)


async def test_packets_that_are_on_their_way_have_an_owner_after_the_end() -> None:
    filtered, tasks = Filter(), Tasks()
    held = Held(filtered)
    tasks.spawn(held.run(), "held")
    before = held.owner(ADDRESS)
    held.hold(ONE, ADDRESS)
    await filtered.wait()
    held.hold(ONE, None)
    asked = held.owner(ADDRESS)
    await filtered.wait()
    ended = held.owner(ADDRESS)
    held.hold(ONE, None)
    await filtered.wait()
    await tasks.close()

    assert before is None
    assert asked == ended == ONE
