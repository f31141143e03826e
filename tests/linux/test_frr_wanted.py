"""What the node leaves for `gatepost-frr`, and what it believes of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from gatepost.linux.frr_wanted import NOBODY, SILENCE, RoutingDaemons, read_routing
from gatepost.model.resource import Change, Resource
from gatepost.model.routing import STATE, WANTED, RoutingDaemon, RoutingState
from gatepost.wire.routing_files import write_state

WISH = RoutingDaemon(
    router_id=IPv4Address("100.64.0.1"), announce=frozenset({ip_network("10.2.0.0/24")})
)


def change(old: Resource | None, new: Resource | None) -> tuple[Change, ...]:
    return (Change(WISH.key, old, new),)


async def test_a_wish_is_there_until_it_is_taken_back(tmp_path: Path) -> None:
    applier = RoutingDaemons(tmp_path / "new")
    assert await applier.read() == frozenset()

    await applier.write(change(None, WISH))
    assert await applier.read() == {WISH}
    assert (tmp_path / "new" / WANTED).stat().st_mode & 0o777 == 0o600
    await applier.write(change(WISH, None))
    assert await applier.read() == frozenset()


async def test_what_is_told_stays_while_it_is_not_known(tmp_path: Path) -> None:
    applier = RoutingDaemons(tmp_path)
    await applier.write(change(None, WISH))

    await applier.write(change(WISH, replace(WISH, announce=None)))
    assert await applier.read() == {WISH}
    await applier.write(change(WISH, replace(WISH, announce=frozenset())))
    assert await applier.read() == {replace(WISH, announce=frozenset())}


async def test_a_wish_that_cannot_be_read_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / WANTED).write_text("{")
    applier = RoutingDaemons(tmp_path)
    (odd,) = await applier.read()

    assert odd != WISH
    await applier.write(change(odd, WISH))
    assert await applier.read() == {WISH}


async def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match=r"file/wanted\.json cannot be written"):
        await RoutingDaemons(tmp_path / "file").write(change(None, WISH))


def test_a_state_is_believed_while_it_is_fresh(tmp_path: Path) -> None:
    state = RoutingState(problem="bgpd ended with -9")
    (tmp_path / STATE).write_bytes(write_state(state, 100.0))

    assert read_routing(101.0, tmp_path) == state
    assert read_routing(100.0 + SILENCE, tmp_path).problem == NOBODY
    assert read_routing(99.0, tmp_path).problem == NOBODY  # of before a restart of the machine
    (tmp_path / STATE).write_text("{")
    assert "how the routing daemon fares" in read_routing(101.0, tmp_path).problem
    (tmp_path / STATE).unlink()
    assert read_routing(101.0, tmp_path).problem == NOBODY
