"""A disk that cannot be written."""

from __future__ import annotations

from dataclasses import replace
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


async def test_a_netmap_that_cannot_be_read_is_no_netmap(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.full = False
    keeper = Keeper(store, replace(store.load_identity(), node=make_private(1)))
    store.save(NETMAP, b"not json")

    assert await keeper.load_netmap() is None
    (tmp_path / NETMAP).write_bytes(b"damaged")
    assert await keeper.load_netmap() is None
