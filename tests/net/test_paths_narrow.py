"""Telling the kernel which addresses lose whole packets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from ipaddress import ip_address

import pytest

from gatepost.model.netmap import Endpoint, IPNetwork
from gatepost.net.paths_narrow import Narrowed
from gatepost.testing.makers import make_node

FAR = Endpoint(ip_address("203.0.113.7"), 41641)
NODE = make_node(2, "10.2.0.0/24")
BEHIND = NODE.allowed
ALONE = make_node(2)
SOON = 5.0  # seconds

Wish = Mapping[Endpoint, Collection[IPNetwork]]


class Kernel:
    """Remembers the last wish; refuses while `refuses`."""

    def __init__(self) -> None:
        self.refuses = False
        self.wishes: list[Wish] = []
        self.news = asyncio.Event()

    async def narrow(self, wish: Wish) -> None:
        self.wishes.append(dict(wish))
        self.news.set()
        if self.refuses:
            raise OSError(5, "no nft here")

    async def next(self) -> Wish:
        async with asyncio.timeout(SOON):
            await self.news.wait()
        self.news.clear()
        return self.wishes[-1]


def run(work: Callable[[Narrowed, Kernel], Awaitable[None]], first: float = 0.0) -> None:
    async def body() -> None:
        kernel = Kernel()
        narrowed = Narrowed(kernel.narrow, first)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(narrowed.run())
            await work(narrowed, kernel)
            task.cancel()

    asyncio.run(body())


def test_a_narrow_address_is_told_with_what_is_behind_it() -> None:
    async def work(narrowed: Narrowed, kernel: Kernel) -> None:
        narrowed.set_peers([NODE])
        narrowed.narrow(NODE.key, FAR)

        assert await kernel.next() == {FAR: BEHIND}

    run(work, first=60.0)


def test_what_an_earlier_daemon_left_is_taken_back_when_nothing_is_narrow() -> None:
    async def work(_: Narrowed, kernel: Kernel) -> None:
        assert await kernel.next() == {}

    run(work)


def test_other_networks_behind_a_narrow_peer_are_told_at_once() -> None:
    async def work(narrowed: Narrowed, kernel: Kernel) -> None:
        narrowed.set_peers([NODE])
        narrowed.narrow(NODE.key, FAR)
        await kernel.next()
        narrowed.set_peers([ALONE])

        assert await kernel.next() == {FAR: ALONE.allowed}

    run(work, first=60.0)


@pytest.mark.parametrize("how", ["wide", "gone"])
def test_who_is_wide_again_or_gone_is_told_no_more(how: str) -> None:
    async def work(narrowed: Narrowed, kernel: Kernel) -> None:
        narrowed.set_peers([NODE])
        narrowed.narrow(NODE.key, FAR)
        await kernel.next()
        if how == "wide":
            narrowed.narrow(NODE.key, None)
        else:
            narrowed.set_peers([])

        assert await kernel.next() == {}

    run(work, first=60.0)


def test_a_refusal_does_not_end_it() -> None:
    async def work(narrowed: Narrowed, kernel: Kernel) -> None:
        kernel.refuses = True
        narrowed.set_peers([NODE])
        narrowed.narrow(NODE.key, FAR)
        await kernel.next()
        kernel.refuses = False
        narrowed.narrow(NODE.key, None)

        assert await kernel.next() == {}

    run(work, first=60.0)
