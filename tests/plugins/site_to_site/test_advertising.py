"""Router advertisements on a real link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest
from tests.linux.inside import PATIENCE, run_inside
from tests.net.inside import inside

from gatepost.testing.netns import Machine, connect, machines
from gatepost.wire.router_advertisement import (
    ADVERTISEMENT,
    RouteInformation,
    read_advertisement,
    write_solicitation,
)
from gatepost_plugins.site_to_site.advertising import LIFETIME, Link, Parameters, only, take_back

pytestmark = pytest.mark.root

SITE, OLD = IPv6Network("fd00:9::/64"), IPv6Network("fd00:7::/64")
PARAMETERS = Parameters(link="lan0", routes=frozenset({SITE}), withdrawn=frozenset({OLD}))
SECONDS = 5.0 * PATIENCE


@pytest.fixture
def pair() -> Iterator[tuple[Machine, Machine]]:
    """Return a box and a host on one link, whose addresses are ready at once."""
    with machines() as owner:
        box, host = owner.add("box", "host")
        connect(box, "lan0", host, "eth0")
        box.ip("address add fe80::1/64 dev lan0 nodad")
        host.ip("address add fe80::2/64 dev eth0 nodad")
        yield box, host


def host_socket(host: Machine, hop_limit: int) -> socket.socket:
    """Return a socket of the host that hears advertisements."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 58)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hop_limit)
        index = socket.if_nametoindex("eth0")
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_ICMPV6, 1, only(ADVERTISEMENT))
        return made

    return inside(host, make)


def test_hosts_hear_what_is_there_and_what_is_taken_back(pair: tuple[Machine, Machine]) -> None:
    box, host = pair

    async def work(_: object) -> tuple[RouteInformation, ...]:
        link = Link.open(PARAMETERS)
        with host_socket(host, 255) as hearing:
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                speaking = group.create_task(link.run())
                heard = await asyncio.get_running_loop().sock_recv(hearing, 1500)
                speaking.cancel()
        link.close()
        return read_advertisement(heard).routes

    assert run_inside(box, work) == (
        RouteInformation(prefix=SITE, lifetime=LIFETIME),
        RouteInformation(prefix=OLD, lifetime=0),
    )


def test_hosts_hear_that_nothing_is_there_when_nobody_wants_it_any_more(
    pair: tuple[Machine, Machine],
) -> None:
    box, host = pair
    missing = Parameters(link="lan9", routes=frozenset({SITE}))  # which keeps nobody from the rest

    async def work(_: object) -> tuple[RouteInformation, ...]:
        with host_socket(host, 255) as hearing:
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                speaking = group.create_task(take_back(None, (missing, PARAMETERS)))
                heard = await asyncio.get_running_loop().sock_recv(hearing, 1500)
                speaking.cancel()
        return read_advertisement(heard).routes

    assert set(run_inside(box, work)) == {
        RouteInformation(prefix=SITE, lifetime=0),
        RouteInformation(prefix=OLD, lifetime=0),
    }


@pytest.mark.parametrize(("hop_limit", "heard"), [(255, True), (64, False)])
def test_only_a_question_from_this_link_is_one(
    pair: tuple[Machine, Machine], hop_limit: int, *, heard: bool
) -> None:
    """A packet that came over a router has less than 255 hops left (RFC 4861, 6.1.1)."""
    box, host = pair

    async def work(_: object) -> bool:
        link = Link.open(PARAMETERS)
        with host_socket(host, hop_limit) as asking:
            asking.sendto(write_solicitation(), ("ff02::2", 0))
            try:
                async with asyncio.timeout(SECONDS if heard else 0.5):
                    await link.asked()
            except TimeoutError:
                return False
            finally:
                link.close()
        return True

    assert run_inside(box, work) is heard


def test_a_device_that_is_not_there_is_named(pair: tuple[Machine, Machine]) -> None:
    async def work(_: object) -> None:
        Link.open(Parameters(link="lan9", routes=frozenset({SITE})))

    with pytest.raises(OSError, match="lan9"):
        run_inside(pair[0], work)
