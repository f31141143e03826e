"""One writer: what is answered is on disk, and decisions see each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests.coordination.makers import (
    ALICE,
    NOW,
    SECRET,
    TERMS,
    machine,
    make_key,
    make_node,
    make_report,
    make_request,
    running_ledger,
)
from tests.processor import seconds

from gatepost.coordination.database.store import Store, open_engine
from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.records import (
    DropNode,
    PolicyVersion,
    PutKey,
    PutNode,
    PutPolicy,
    PutUser,
    Records,
    User,
)
from gatepost.coordination.registration import Joined, Outcome, decide
from gatepost.coordination.world import Presence, World
from gatepost.errors import RefusedError, StateError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordination.sqlite"


def put(*edits: PutUser | PutKey | PutNode | PutPolicy | DropNode) -> Decision[None]:
    return Decision(None, edits)


async def prepare(ledger: Ledger) -> None:
    await ledger.change(lambda _: put(PutUser(ALICE), PutKey(make_key())))


def stored(path: Path) -> Records:
    store = Store(path)
    try:
        return store.read()[0]
    finally:
        store.close()


async def test_of_a_hundred_uses_of_a_one_time_key_exactly_one_wins(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await prepare(ledger)

        async def use(number: int) -> Decision[Outcome] | Outcome | RefusedError:
            try:
                return await ledger.change(
                    lambda r: decide(r, make_request(number, auth=SECRET), machine(number), TERMS)
                )
            except RefusedError as error:
                return error

        answers = await asyncio.gather(*(use(i) for i in range(1, 101)))

    assert sum(isinstance(a, Joined) for a in answers) == 1
    assert sum(isinstance(a, RefusedError) for a in answers) == 99
    assert len(stored(path).nodes) == 1
    assert stored(path).keys[1].used == 1


async def test_parallel_joins_get_different_ids_addresses_and_names(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await ledger.change(lambda _: put(PutUser(ALICE), PutKey(make_key(reusable=True))))
        await asyncio.gather(
            *(
                ledger.change(
                    lambda r, i=i: decide(r, make_request(i, auth=SECRET), machine(i), TERMS)  # type: ignore[misc]  # the loop's number is kept
                )
                for i in range(1, 101)
            )
        )

    nodes = stored(path).nodes.values()
    assert len({n.address for n in nodes}) == len({n.label for n in nodes}) == len(nodes) == 100


async def test_an_answer_comes_only_when_the_edit_is_on_disk(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await ledger.change(lambda _: put(PutUser(ALICE)))

        assert stored(path).users == {1: ALICE}


async def test_the_world_knows_nothing_that_is_not_on_disk(path: Path) -> None:
    async with running_ledger(path) as ledger, asyncio.TaskGroup() as group:
        waiting = group.create_task(ledger.change(lambda _: put(PutUser(ALICE))))
        await asyncio.sleep(0)

        assert ledger.world.records.users == {}
        await waiting
        assert ledger.world.records.users == {1: ALICE}


async def test_a_decision_that_refuses_changes_nothing(path: Path) -> None:
    def refuse(records: Records) -> Decision[None]:
        raise RefusedError(f"{len(records.users)} users")

    async with running_ledger(path) as ledger:
        with pytest.raises(RefusedError, match="0 users"):
            await ledger.change(refuse)

        assert ledger.world.generation == 0


def fill_disk(engine: Engine) -> None:
    """Let the database file grow no more, as on a disk without room."""
    with engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))


def make_room(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count=1000000"))


def too_much(_: Records) -> Decision[None]:
    return put(*(PutUser(User(id=i, name=f"{i:09}" * 30, created=NOW)) for i in range(10, 900)))


async def test_on_a_full_disk_a_change_and_all_behind_it_are_refused(path: Path) -> None:
    engine = open_engine(path)
    async with running_ledger(path, engine=engine) as ledger:
        await prepare(ledger)
        fill_disk(engine)
        before = ledger.world

        answers = await asyncio.gather(
            ledger.change(too_much),
            ledger.change(lambda _: put(PutNode(make_node(1)))),
            return_exceptions=True,
        )

        assert [type(a) for a in answers] == [StateError, StateError]
        assert ledger.world is before
        make_room(engine)
        await ledger.change(lambda r: put(PutNode(make_node(r.counters.node))))
    assert list(stored(path).nodes) == [1]
    assert list(stored(path).users) == [ALICE.id]


async def test_on_a_full_disk_nodes_still_tell_each_other_where_they_are(path: Path) -> None:
    engine = open_engine(path)
    async with running_ledger(path, engine=engine) as ledger:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))
        fill_disk(engine)
        report = make_report(endpoints=tuple(f"192.0.2.1:{p}" for p in range(1, 9000)))

        with pytest.raises(StateError):
            await ledger.report(1, report)

        assert ledger.world.nodes[1].report == report
        assert not ledger.is_settled(1)
        make_room(engine)
        await ledger.report(1, report)
        assert ledger.is_settled(1)
    store = Store(path)
    assert store.read()[1] == {1: report}
    store.close()


async def test_a_report_counts_at_once_and_is_answered_when_written(path: Path) -> None:
    async with running_ledger(path) as ledger, asyncio.TaskGroup() as group:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))

        waiting = group.create_task(ledger.report(1, make_report()))
        await asyncio.sleep(0)

        assert ledger.world.nodes[1].report == make_report()
        assert not waiting.done()
        await waiting


async def test_a_report_of_a_node_that_is_being_deleted_is_refused(path: Path) -> None:
    async with running_ledger(path) as ledger, asyncio.TaskGroup() as group:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))
        deleting = group.create_task(ledger.change(lambda _: put(DropNode(1))))
        await asyncio.sleep(0)

        with pytest.raises(RefusedError, match="does not exist any more"):
            await ledger.report(1, make_report())
        await deleting


async def test_reports_before_a_deletion_do_not_stop_it(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))

        await asyncio.gather(
            ledger.report(1, make_report()), ledger.change(lambda _: put(DropNode(1)))
        )

        assert ledger.world.nodes == {}


async def test_an_orderly_stop_writes_what_nobody_waits_for(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))
        ledger.see(1, Presence(online=False), last_seen=NOW + 7)

    store = Store(path)
    assert store.read()[1][1].last_seen == NOW + 7
    store.close()


async def test_listeners_hear_of_every_new_world_in_order(path: Path) -> None:
    heard: list[World] = []
    async with running_ledger(path) as ledger:
        ledger.on_change(heard.append)
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))
        await ledger.report(1, make_report())

    assert [w.generation for w in heard] == [1, 2, 3]


async def test_a_policy_of_many_rules_does_not_hold_the_event_loop(path: Path) -> None:
    async with running_ledger(path) as ledger:
        await prepare(ledger)
        await ledger.change(lambda _: put(PutNode(make_node(1))))
        setting = asyncio.gather(
            ledger.change(lambda _: put(PutPolicy(make_policy(1, rules=1000)))),
            ledger.report(1, make_report(1, endpoints=("192.0.2.7:7",))),
        )
        in_loop, elsewhere = await seconds(setting)

        assert elsewhere > 2 * in_loop
        assert len(ledger.world.rights.compiled.rules) == 1000
        assert ledger.world.nodes[1].report.endpoints == ("192.0.2.7:7",)


def make_policy(number: int, *, rules: int) -> PolicyVersion:
    lines = (
        f'{{"action": "accept", "src": ["10.0.{n % 256}.{n // 256}"], "dst": ["*:{n + 1}"]}}'
        for n in range(rules)
    )
    text = f'{{"acls": [{",".join(lines)}]}}'
    return PolicyVersion(id=number, text=text, author="a test", created=NOW)
