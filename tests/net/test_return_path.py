"""Asking a host in a stranger's name: the watcher takes the right packet for an answer only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from tests.linux.inside import PATIENCE, run_inside

from gatepost.errors import UnreachableError
from gatepost.model.netmap import IPAddress
from gatepost.net.return_path import Answer, ask_as, is_answer, own_address_towards
from gatepost.testing.netns import Machine, connect, machines
from gatepost.wire.icmp import Echo, write_request

COOKIE = bytes(range(16))
HOST4, SITE4 = IPv4Address("10.1.0.2"), IPv4Address("10.9.0.7")
HOST6, SITE6 = IPv6Address("fd00:1::2"), IPv6Address("fd00:9::7")


def answer_to(source: IPAddress, target: IPAddress) -> bytes:
    """Return the IP packet that `target` answers with."""
    request = write_request(Echo(False, 7, 1, COOKIE), source.version)
    reply = bytes([0 if source.version == 4 else 129]) + request[1:]
    head = b"\x45" + bytes(11) if source.version == 4 else b"\x60" + bytes(7)
    return head + target.packed + source.packed + reply


@pytest.mark.parametrize(("source", "target"), [(SITE4, HOST4), (SITE6, HOST6)])
def test_the_answer_is_known_and_every_cut_and_flip_of_it_is_not(
    source: IPAddress, target: IPAddress
) -> None:
    whole = answer_to(source, target)
    ends = range(12, 20) if source.version == 4 else range(8, 40)

    assert is_answer(whole, target, source, COOKIE)
    assert not any(is_answer(whole[:n], target, source, COOKIE) for n in range(len(whole)))
    for place in (*ends, len(whole) - 1, len(whole) - 24):
        bent = bytearray(whole)
        bent[place] ^= 0xFF
        assert not is_answer(bytes(bent), target, source, COOKIE)


@pytest.fixture
def lan() -> Iterator[tuple[Machine, Machine]]:
    """Return a box, and a host that knows only its own network."""
    with machines() as owner:
        box, host = owner.add("box", "host")
        connect(box, "lan0", host, "eth0")
        box.ip("address add 10.1.0.1/24 dev lan0", "address add fd00:1::1/64 dev lan0 nodad")
        host.ip("address add 10.1.0.2/24 dev eth0", "address add fd00:1::2/64 dev eth0 nodad")
        host.ip("link set eth0 address 02:00:00:00:00:02")
        yield box, host


def ask(box: Machine, target: IPAddress, source: IPAddress, seconds: float) -> Answer | None:
    return run_inside(box, lambda _: ask_as(target, source, seconds))


@pytest.mark.root
@pytest.mark.parametrize(("target", "source"), [(HOST4, SITE4), (HOST6, SITE6)])
def test_an_answer_is_seen_once_the_host_knows_the_way(
    lan: tuple[Machine, Machine], target: IPAddress, source: IPAddress
) -> None:
    box, host = lan
    assert ask(box, target, source, 0.7) is None

    host.ip(f"route add {source} via {'10.1.0.1' if source.version == 4 else 'fd00:1::1'}")
    found = ask(box, target, source, 10 * PATIENCE)

    assert found is not None
    assert (found.device, found.sender) == ("lan0", "02:00:00:00:00:02")
    assert 0 < found.latency < 10 * PATIENCE


@pytest.mark.root
def test_a_host_to_which_there_is_no_way_is_named(lan: tuple[Machine, Machine]) -> None:
    with pytest.raises(UnreachableError, match=r"192\.0\.2\.9"):
        ask(lan[0], ip_address("192.0.2.9"), SITE4, 1.0)


@pytest.mark.root
def test_many_may_be_asked_at_once(lan: tuple[Machine, Machine]) -> None:
    """Each answer goes to who asked: the identifiers keep them apart."""
    box, host = lan
    host.ip("route add default via 10.1.0.1")
    sources = [IPv4Address(int(SITE4) + n) for n in range(8)]

    async def work(_: object) -> list[Answer | None]:
        return await asyncio.gather(*(ask_as(HOST4, s, 10 * PATIENCE) for s in sources))

    assert None not in run_inside(box, work)


@pytest.mark.root
def test_our_own_address_towards_a_host_is_the_one_we_would_use(
    lan: tuple[Machine, Machine],
) -> None:
    async def work(target: IPAddress) -> IPAddress | None:
        return own_address_towards(target)

    box = lan[0]

    assert run_inside(box, lambda _: work(HOST4)) == IPv4Address("10.1.0.1")
    assert run_inside(box, lambda _: work(HOST6)) == IPv6Address("fd00:1::1")
    assert run_inside(box, lambda _: work(IPv4Address("192.0.2.1"))) is None
