"""A disk that cannot be written, or is slow."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.net.waiting import eventually

from gatepost.daemon.keeper import Keeper
from gatepost.daemon.store import NETMAP, Store
from gatepost.errors import StateError
from gatepost.testing.makers import make_netmap, make_private

HERE = make_netmap()


class FullDisk(Store):
    """Refuses every write while it is full."""

    full = True

    def save(self, name: str, content: bytes) -> None:
        if self.full:
            raise StateError(f"{name} cannot be written: No space left on device")
        super().save(name, content)


def opened(directory: Path) -> FullDisk:
    whole = Store.open(directory)
    whole.load_identity()
    return FullDisk(whole.directory, whole.seal, whole.lock)


async def test_a_full_disk_is_a_notice_until_there_is_room(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keeper = Keeper(store, store.load_identity())
    wanted = replace(keeper.identity, node=make_private(1))
    await keeper.keep_identity(wanted)

    assert keeper.identity == wanted
    assert [n.code for n in keeper.notices()] == ["state-not-saved"]
    assert "No space left" in keeper.notices()[0].text
    store.full = False
    await keeper.keep_identity(wanted)
    assert keeper.notices() == ()
    assert store.load_identity() == wanted
    await keeper.close()


async def test_of_many_netmaps_the_last_one_is_on_the_disk_at_the_end(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.full = False
    keeper = Keeper(store, store.load_identity())
    keeper.keep_netmap(HERE, lambda: b"1")
    await eventually(lambda: store.load(NETMAP) == b"1")
    keeper.keep_netmap(HERE, lambda: b"2")
    keeper.keep_netmap(HERE, lambda: b"3")
    await keeper.close()

    assert store.load(NETMAP) == b"3"


@dataclass(slots=True)
class SlowAtFirst(Store):
    """Goes on with its first write when it is told to."""

    begun: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)

    def save(self, name: str, content: bytes) -> None:
        if not self.begun.is_set():
            self.begun.set()
            self.may_end.wait(10)
        Store.save(self, name, content)


async def test_a_slow_write_does_not_win_over_the_one_after_it(tmp_path: Path) -> None:
    whole = Store.open(tmp_path)
    before = replace(whole.load_identity(), node=make_private(1))
    store = SlowAtFirst(whole.directory, whole.seal, whole.lock)
    keeper = Keeper(store, before)
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.keep_identity(before), name="login")
        await asyncio.to_thread(store.begun.wait, 10)
        logout = group.create_task(keeper.keep_identity(replace(before, node=None)), name="logout")
        await asyncio.wait({logout}, timeout=0.2)  # time to overtake
        store.may_end.set()

    assert whole.load_identity().node is None
    await keeper.close()


async def test_a_netmap_that_cannot_be_read_is_no_netmap(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.full = False
    keeper = Keeper(store, replace(store.load_identity(), node=make_private(1)))
    store.save(NETMAP, b"not json")

    assert await keeper.load_netmap() is None
    (tmp_path / NETMAP).write_bytes(b"damaged")
    assert await keeper.load_netmap() is None
