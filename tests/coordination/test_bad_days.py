"""Power cuts, floods and wrong keys, against a server in a process of its own."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.coordination.serving import RunningServer, box_of

from gatepost.coordination.database.store import Store
from gatepost.errors import GatepostError, RefusedError, UnreachableError, WireError
from gatepost.model.admin import KeyRequest, UserRequest
from gatepost.model.keys import MachinePrivate, NodePrivate


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path)
    running.start()
    yield running
    running.stop()
    assert "Traceback" not in running.log()


async def test_of_a_hundred_parallel_uses_of_a_one_time_key_exactly_one_wins(
    server: RunningServer,
) -> None:
    key = server.make_key()

    async def use() -> bool:
        async with box_of(server, "racer") as box:
            try:
                await box.register(key)
            except GatepostError:
                return False
            return True

    wins = await asyncio.gather(*(use() for _ in range(100)))

    assert sum(wins) == 1
    assert [k.used for k in server.admin.keys()] == [1]  # noqa: SIM118  # no dictionary
    assert len(server.admin.nodes()) == 1


@pytest.mark.parametrize("key", ["gpauth-wrong", "tskey-auth-other", "x" * 10_000])
async def test_a_wrong_key_is_refused_in_words(server: RunningServer, key: str) -> None:
    async with box_of(server) as box:
        with pytest.raises(RefusedError, match="not valid: ask the administrator"):
            await box.register(key)


async def test_an_expired_key_is_refused_in_words(server: RunningServer) -> None:
    server.admin.create_user(UserRequest(name="late"))
    key = server.admin.create_key(KeyRequest(user="late", lifetime=0.01)).secret
    await asyncio.sleep(0.02)
    async with box_of(server) as box:
        with pytest.raises(RefusedError, match="has expired"):
            await box.register(key)


async def test_a_flood_of_wrong_keys_is_slowed_down_and_right_keys_are_not(
    server: RunningServer,
) -> None:
    key = server.make_key()
    answers: list[str] = []
    async with box_of(server, "guesser") as guesser:
        for _ in range(50):
            with pytest.raises((RefusedError, UnreachableError)) as caught:
                await guesser.register("gpauth-guess")
            answers.append(str(caught.value))
    assert "not valid" in answers[0]
    assert "429: too many failed attempts" in answers[-1]
    async with box_of(server, "welcome") as box:
        assert (await box.register(key)).machine_authorized


async def test_what_was_acknowledged_survives_a_power_cut_during_joins(
    server: RunningServer,
) -> None:
    """Machines join without end; the power goes, twice; they go on with the same keys."""
    key = server.make_key(reusable=True)
    machines = [
        (MachinePrivate(secrets.token_bytes(32)), NodePrivate(secrets.token_bytes(32)))
        for _ in range(120)
    ]
    acknowledged: set[str] = set()
    reported: set[str] = set()

    async def join(number: int) -> None:
        machine, node = machines[number]
        async with box_of(server, f"box-{number}", machine=machine, node=node) as box:
            try:
                await box.register(key)
                acknowledged.add(str(node.public))
                await box.update(f"198.51.100.1:{number + 1}")
                reported.add(str(node.public))
            except (UnreachableError, WireError):
                return  # the power is gone: the client tries again later

    for cut_after in (15, 60):
        async with asyncio.TaskGroup() as group:
            for number in range(len(machines)):
                group.create_task(join(number))
            while len(acknowledged) < cut_after:  # noqa: ASYNC110  # what others do, not an event
                await asyncio.sleep(0.001)
            server.kill()
        before = set(acknowledged), set(reported)
        _assert_sound(server, *before)
        server.start()
    await asyncio.gather(*(join(n) for n in range(len(machines))))

    nodes = server.admin.nodes()
    assert {n.node_key for n in nodes} == acknowledged
    assert len(acknowledged) == len(machines)
    assert len({a for n in nodes for a in n.addresses}) == 2 * len(nodes)
    assert len({n.name for n in nodes}) == len({n.id for n in nodes}) == len(nodes)


def _assert_sound(server: RunningServer, acknowledged: set[str], reported: set[str]) -> None:
    """Look into the database while the server is dead."""
    path = server.state / "coordination.sqlite"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    store = Store(path)
    records, reports = store.read()
    store.close()
    stored = {str(n.key): n.id for n in records.nodes.values()}
    assert acknowledged <= set(stored)
    assert all(reports[stored[key]].endpoints for key in reported)


async def test_a_restart_keeps_the_servers_keys_and_what_nodes_said(
    server: RunningServer,
) -> None:
    public = server.admin.server().public_key
    key = server.make_key()
    async with box_of(server, "steady") as box:
        await box.register(key)
        await box.update("198.51.100.1:1")
    assert server.stop() == 0

    server.start()

    assert server.admin.server().public_key == public
    async with box_of(server, machine=box.machine, node=box.node) as again:
        assert (await again.register()).machine_authorized
        async with aclosing(again.poll()) as stream:
            first = await asyncio.wait_for(anext(stream), 5)
            assert first.node is not None
            assert first.node.name == "steady.mesh.example."


async def test_a_login_begun_before_a_restart_goes_on_after_it(server: RunningServer) -> None:
    async with box_of(server) as box:
        before = (await box.register()).auth_url
    server.kill()
    server.start()

    async with box_of(server, machine=box.machine, node=box.node) as again:
        after = (await again.register(followup=before)).auth_url

    assert after.startswith(f"{server.url}/register/")
    assert after != before


def test_a_wrong_settings_file_is_named_and_nothing_starts(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, more="banana = 1\n")

    with pytest.raises(AssertionError, match=r"coordination\.toml: .*banana"):
        server.start()


def test_a_damaged_key_file_is_named_and_not_replaced(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.state.mkdir()
    (server.state / "noise.key").write_text("privkey:00")

    with pytest.raises(AssertionError, match=r"noise\.key cannot be used.*backup"):
        server.start()
    assert (server.state / "noise.key").read_text() == "privkey:00"
