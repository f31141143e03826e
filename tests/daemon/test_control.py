"""The node at a coordination server: joining, staying, leaving, and the server being away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.daemon.fake_server import URL, FakeServer, nobody_answers
from tests.net.waiting import eventually

from gatepost.daemon.control import Control, Myself
from gatepost.daemon.hostinfo import Announcement, MachineFacts
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.keeper import Keeper
from gatepost.daemon.login import LoginRequest
from gatepost.daemon.store import Store
from gatepost.model.keys import DiscoPrivate
from gatepost.model.netmap import IPNetwork
from gatepost.model.process import WatchNodeFacts
from gatepost.wire.netmap import MapResponse

HERE, ELSEWHERE = "http://server.test", "http://other.test"


@dataclass(slots=True)
class Bench:
    """A control loop with everything around it."""

    server: FakeServer
    inputs: Inputs
    keeper: Keeper
    control: Control
    said: Announcement = field(default_factory=lambda: Announcement(hostname="box"))

    @property
    def is_in(self) -> bool:
        return self.inputs.netmap is not None and not self.inputs.netmap_stored


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(keys={"key"})


@contextlib.asynccontextmanager
async def running(
    server: FakeServer, directory: Path, now: Callable[[], float] | None = None
) -> AsyncGenerator[Bench]:
    store = Store.open(directory)
    inputs, keeper = Inputs(), Keeper(store, store.load_identity())
    facts = MachineFacts("box", "6.1", "x86_64")
    me = Myself(facts=facts, disco=DiscoPrivate(bytes(31) + b"1"), version=131, port=41641)
    control = Control(
        inputs=inputs,
        keeper=keeper,
        connect=server.connect,
        announcement=lambda: bench.said,
        me=me,
        now=now or (lambda: datetime.now(UTC).timestamp()),
        tsmp_ping=nobody_answers,
    )
    bench = Bench(server, inputs, keeper, control)
    control.configure(HERE, wanted=True)
    await control.start()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(control.run())
            yield bench
            task.cancel()
    finally:
        await keeper.close()
        store.close()


async def joined(bench: Bench) -> None:
    bench.control.log_in(LoginRequest(auth_key="key"))
    await eventually(lambda: bench.is_in)


async def test_an_auth_key_joins_at_once(server: FakeServer, tmp_path: Path) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        facts = bench.inputs.observed.get(WatchNodeFacts(), None)

        assert facts is not None
        assert bench.inputs.netmap is not None
        assert facts.private_key.public == bench.inputs.netmap.me.key
        assert bench.control.standing.connected


async def test_nothing_is_asked_before_somebody_wants_to_log_in(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path):
        await asyncio.sleep(0.05)

    assert server.visits == 0


async def test_a_wrong_auth_key_is_told_and_not_tried_again(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        bench.control.log_in(LoginRequest(auth_key="wrong"))
        await eventually(lambda: bool(bench.control.standing.refusal))
        await asyncio.sleep(0.6)

        assert [n.text for n in bench.control.standing.notices()] == ["the auth key is not valid"]
        assert len(server.registers) == 1
        bench.control.log_in(LoginRequest(auth_key="key"))
        await eventually(lambda: bench.is_in)
        assert bench.control.standing.notices() == ()


async def test_a_login_by_hand_shows_its_url_until_it_is_approved(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        bench.control.log_in(LoginRequest())
        await eventually(lambda: bench.control.standing.auth_url == URL)
        server.approved.set()
        await eventually(lambda: bench.is_in)

        assert bench.control.standing.auth_url == ""
        assert [r.followup for r in server.registers] == ["", URL]


async def test_a_login_that_was_interrupted_goes_on_under_the_same_key(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        bench.control.log_in(LoginRequest())
        await eventually(lambda: bench.control.standing.auth_url == URL)
    async with running(server, tmp_path) as bench:
        await joined(bench)

    assert len({r.node_key for r in server.registers}) == 1


async def test_a_restart_needs_no_auth_key_and_starts_with_the_netmap_of_last_time(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
    server.keys.clear()
    server.away = True
    async with running(server, tmp_path) as bench:
        assert bench.inputs.netmap is not None
        assert bench.inputs.netmap_stored
        await eventually(lambda: bool(bench.control.standing.trouble))
        server.away = False
        await eventually(lambda: bench.is_in)

    assert len(server.nodes) == 1


async def test_a_server_that_goes_away_leaves_the_netmap_in_force(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        server.away = True
        server.say(None)
        await eventually(lambda: not bench.control.standing.connected)

        assert bench.inputs.netmap is not None
        assert [n.code for n in bench.control.standing.notices()] == ["server-unreachable"]
        bench.control.configure(HERE, wanted=False)
        await eventually(lambda: not bench.control.standing.notices())  # nobody asks it now
        bench.control.configure(HERE, wanted=True)
        server.away = False
        await eventually(lambda: bench.control.standing.connected)


async def test_a_change_is_told_once(server: FakeServer, tmp_path: Path) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        await eventually(lambda: len(server.updates) == 1)
        bench.said = Announcement(hostname="box", routes=(ip_network("10.1.0.0/16"),))
        for _ in range(5):
            bench.control.announce()
        await eventually(lambda: len(server.updates) == 2)
        bench.control.announce()
        await asyncio.sleep(0.15)
        told = server.updates[-1].hostinfo

        assert len(server.updates) == 2
        assert told is not None
        assert told.routable_ips == ("10.1.0.0/16",)


async def test_a_route_that_is_granted_in_silence_is_found_out(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        lan = ip_network("10.1.0.0/16")
        bench.said = Announcement(hostname="box", routes=(lan,))
        await joined(bench)
        server.granted = (str(lan),)
        server.say(MapResponse(packet_filters={"base": ()}))  # all that headscale says

        await eventually(lambda: lan in routes_of(bench))
        assert len(server.streams) == server.visits == 1
        assert bench.control.standing.connected


def routes_of(bench: Bench) -> tuple[IPNetwork, ...]:
    return bench.inputs.netmap.me.routes if bench.inputs.netmap else ()


async def test_a_key_that_the_server_ends_takes_the_mesh_down(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        (key,) = server.nodes
        past = datetime.now(UTC) - timedelta(seconds=1)
        server.say(server.first_message(key, expiry=past))
        await eventually(lambda: bench.inputs.netmap is None)
        server.expired.add(key)

        assert [n.code for n in bench.control.standing.notices()] == ["key-expired"]
        assert not bench.control.is_logged_in
        await joined(bench)
        assert list(server.nodes.values()) == [1]  # the same node, under a new key
        assert bench.control.standing.notices() == ()


async def test_a_key_runs_out_by_the_servers_clock_even_while_nobody_says_so(
    server: FakeServer, tmp_path: Path
) -> None:
    def clock_of_1970() -> float:
        return asyncio.get_running_loop().time()

    async with running(server, tmp_path, clock_of_1970) as bench:
        await joined(bench)
        (key,) = server.nodes
        now = datetime.now(UTC)
        soon = server.first_message(key, expiry=now + timedelta(seconds=0.3))
        server.say(MapResponse(node=soon.node, control_time=now))
        await asyncio.sleep(0.1)
        assert bench.inputs.netmap is not None
        await eventually(lambda: bench.inputs.netmap is None)


async def test_a_node_that_was_deleted_meanwhile_has_to_log_in_anew(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        server.nodes.clear()
        server.say(None)
        await eventually(lambda: bench.inputs.netmap is None)

        assert [n.code for n in bench.control.standing.notices()] == ["key-expired"]
        bench.control.log_in(LoginRequest())
        await eventually(lambda: bench.control.standing.auth_url == URL)


async def test_a_forced_login_rotates_the_key_of_the_same_node(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        before = bench.keeper.identity.node
        bench.control.log_in(LoginRequest(auth_key="key", fresh=True))
        await eventually(lambda: bench.keeper.identity.node != before)
        now = bench.keeper.identity.node
        assert before is not None
        assert now is not None

        assert server.nodes == {now.public: 1}
        assert server.registers[-1].old_node_key == before.public


async def test_a_map_that_is_refused_asks_what_we_are_and_comes_back(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        server.refuse_map = True
        server.say(None)
        await eventually(lambda: len(server.registers) >= 2)
        server.refuse_map = False
        await eventually(lambda: bench.control.standing.connected)

        assert bench.inputs.netmap is not None


async def test_a_logout_gives_the_key_back_and_forgets_the_netmap(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        await bench.control.log_out()

        assert server.nodes == {}
        assert bench.inputs.netmap is None
        assert bench.keeper.identity.node is None
    async with running(server, tmp_path) as bench:
        assert bench.inputs.netmap is None


async def test_another_server_never_hears_of_the_keys_of_the_first(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        first = server.registers[-1].node_key
        bench.control.configure(ELSEWHERE, wanted=True)
        assert bench.inputs.netmap is None  # the old mesh is left at once
        bench.control.log_in(LoginRequest(auth_key="key"))
        await eventually(lambda: server.registers[-1].node_key != first)

        assert server.registers[-1].old_node_key.is_zero


async def test_a_server_that_is_not_there_costs_no_key_and_the_way_back_is_open(
    server: FakeServer, tmp_path: Path
) -> None:
    server.unreachable.add(ELSEWHERE)
    async with running(server, tmp_path) as bench:
        await joined(bench)
        mine = bench.keeper.identity.node
        bench.control.configure(ELSEWHERE, wanted=True)
        bench.control.log_in(LoginRequest(auth_key="key"))
        await eventually(lambda: HERE in bench.control.standing.trouble)
        assert not bench.control.is_logged_in
        bench.control.configure(HERE, wanted=True)
        assert bench.control.standing.trouble == ""  # it was the other server's
    server.keys.clear()
    async with running(server, tmp_path) as bench:  # and over a restart
        await eventually(lambda: bench.is_in)
        assert bench.keeper.identity.node == mine

    assert len(server.nodes) == 1


async def test_the_way_back_to_a_server_that_is_away_starts_with_the_netmap_of_last_time(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        server.away = True
        server.say(None)
        bench.control.configure(ELSEWHERE, wanted=True)
        await eventually(lambda: bench.keeper.identity.login_server == ELSEWHERE)
        assert bench.inputs.netmap is None
        bench.control.configure(HERE, wanted=True)
        await eventually(lambda: bench.inputs.netmap_stored)


async def test_who_leaves_for_another_server_and_comes_back_is_the_same_node_at_each(
    server: FakeServer, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        here = bench.keeper.identity.node
        bench.control.configure(ELSEWHERE, wanted=True)
        await joined(bench)
        there = bench.keeper.identity.node
        server.keys.clear()
        bench.control.configure(HERE, wanted=True)
        await eventually(lambda: bench.is_in and bench.keeper.identity.node == here)
        bench.control.configure(ELSEWHERE, wanted=True)
        await eventually(lambda: bench.is_in and bench.keeper.identity.node == there)

    assert here != there
    assert len(server.nodes) == 2


async def test_a_logout_forgets_one_server_and_no_other(server: FakeServer, tmp_path: Path) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        here = bench.keeper.identity.node
        bench.control.configure(ELSEWHERE, wanted=True)
        await joined(bench)
        await bench.control.log_out()

        assert bench.keeper.identity.node is None
        assert bench.keeper.identity.elsewhere == {HERE: here}
        assert here is not None
        assert list(server.nodes) == [here.public]


async def test_not_wanted_means_not_there(server: FakeServer, tmp_path: Path) -> None:
    async with running(server, tmp_path) as bench:
        await joined(bench)
        bench.control.configure(HERE, wanted=False)
        await eventually(lambda: not bench.control.standing.connected)

        assert server.streams == []
