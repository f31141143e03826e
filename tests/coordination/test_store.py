"""What was acknowledged is read again, whatever happens to the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from tests.coordination.makers import (
    ALICE,
    BOB,
    NOW,
    make_key,
    make_node,
    make_records,
    make_report,
)

from gatepost.coordination.database.nodes import node_row
from gatepost.coordination.database.store import Batch, Store, migrate, open_engine
from gatepost.coordination.database.tables import metadata
from gatepost.coordination.database.users import user_row
from gatepost.coordination.records import (
    NOBODY,
    Counters,
    DropKey,
    DropNode,
    DropUser,
    Edit,
    PutKey,
    PutNode,
    PutUser,
    Records,
    Report,
    User,
)
from gatepost.errors import StateError
from gatepost.wire.hostinfo import Hostinfo, Service


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordination.sqlite"


@pytest.fixture
def engine(path: Path) -> Engine:
    return open_engine(path)


@pytest.fixture
def store(path: Path, engine: Engine) -> Iterator[Store]:
    store = Store(path, engine)
    yield store
    store.close()


def batch_of(records: Records, reports: dict[int, Report] | None = None) -> Batch:
    edits: tuple[Edit, ...] = (
        *map(PutUser, records.users.values()),
        *map(PutKey, records.keys.values()),
        *map(PutNode, records.nodes.values()),
    )
    batch = Batch(reports=reports or {})
    batch.add(edits, records.counters)
    return batch


FULL = make_records(
    make_key(1, tags=("tag:a", "tag:b"), reusable=True, used=3, revoked=True, expires=None),
    make_key(2, "other", user_id=NOBODY, ephemeral=True),
    make_node(1, key_expiry=NOW + 5, renamed=True),
    make_node(2, user_id=NOBODY, tags=("tag:a",), ephemeral=True,
              approved_routes=(ip_network("10.1.0.0/16"), ip_network("::/0"))),
)  # fmt: skip


def test_migrations_make_the_tables_of_the_models(store: Store, engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, metadata) == []
    assert store.read() == (Records(), {})


OLDER = make_records(make_node(1))


def make_older(path: Path, revision: str) -> None:
    """Make a database as the first program left it, brought up to a revision."""
    engine = open_engine(path)
    with engine.begin() as connection:
        migrate(connection, "0001")
        for table, row in (
            *(("users", user_row(u)) for u in OLDER.users.values()),
            *(("nodes", node_row(n)) for n in OLDER.nodes.values()),
            *(("counters", {"name": n, "next": v}) for n, v in asdict(OLDER.counters).items()),
        ):
            columns = [c["name"] for c in inspect(connection).get_columns(table)]
            known = {name: value for name, value in row.items() if name in columns}
            wanted = sql_table(table, *map(sql_column, known))
            connection.execute(wanted.insert().values(known))
        migrate(connection, revision)
    engine.dispose()


def read_at(path: Path) -> Records:
    store = Store(path)
    try:
        return store.read()[0]
    finally:
        store.close()


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_a_database_of_an_older_program_is_taken_over(path: Path, revision: str) -> None:
    make_older(path, revision)

    records = read_at(path)

    assert records.nodes == OLDER.nodes
    assert [u.role for u in records.users.values()] == ["owner", "member"]
    assert records.counters == OLDER.counters


@pytest.mark.parametrize(
    ("revision", "last"),
    [
        ("base", "CREATE TABLE users"),
        ("base", "INSERT INTO alembic_version"),
        ("0001", "ADD COLUMN role"),
        ("0001", "UPDATE users"),
        ("0002", "ADD COLUMN refused_routes"),
        ("0002", "CREATE TABLE primaries"),
        ("0003", "CREATE TABLE names"),
    ],
)
def test_a_migration_that_was_cut_off_is_done_from_its_beginning(
    path: Path, revision: str, last: str
) -> None:
    if revision != "base":
        make_older(path, revision)
    engine = open_engine(path)

    def cut_off(*known: object) -> None:
        if last in str(known[2]):  # the statement
            raise InterruptedError

    event.listen(engine, "after_cursor_execute", cut_off)
    with pytest.raises(InterruptedError):
        Store(path, engine)

    assert read_at(path).nodes == (Records() if revision == "base" else OLDER).nodes


def test_everything_written_is_read_again_by_the_next_process(path: Path) -> None:
    report = make_report(
        hostinfo=Hostinfo(
            hostname="gate", routable_ips=("10.1.0.0/16",), services=(Service(proto="tcp", port=1),)
        ),
        routes=(ip_network("10.1.0.0/16"),),
        last_seen=NOW,
    )
    first = Store(path)
    first.write(batch_of(FULL, {1: report, 2: Report()}))
    first.close()

    second = Store(path)
    records, reports = second.read()
    second.close()

    assert records == FULL
    assert reports == {1: report, 2: Report()}


def test_an_empty_database_is_an_empty_mesh(store: Store) -> None:
    assert store.read() == (Records(), {})


def test_what_is_dropped_is_gone_and_its_ids_stay_used(store: Store) -> None:
    store.write(batch_of(FULL, {1: make_report()}))
    batch = Batch(reports={1: make_report()})
    batch.add([DropNode(1), DropNode(2), DropKey(1), DropKey(2), DropUser(ALICE.id)], FULL.counters)
    store.write(batch)

    records, reports = store.read()

    assert reports == {}
    assert records == Records.of([BOB], [], [], FULL.counters)


def test_a_batch_is_written_in_its_order(store: Store) -> None:
    store.write(batch_of(make_records(make_node(1, label="a"))))
    batch = Batch()
    batch.add(
        [PutNode(make_node(1, label="b")), PutNode(make_node(2, label="a"))], Counters(node=3)
    )

    store.write(batch)

    assert {n.label for n in store.read()[0].nodes.values()} == {"a", "b"}


def test_a_refused_batch_changes_nothing(store: Store) -> None:
    store.write(batch_of(FULL))
    batch = Batch()
    batch.add(
        [PutUser(User(id=9, name="carol", created=NOW)), PutNode(make_node(9, label="box-1"))],
        Counters(user=10),
    )

    with pytest.raises(StateError, match="UNIQUE"):
        store.write(batch)

    assert store.read()[0] == FULL


def test_a_full_disk_is_named_and_changes_nothing(store: Store, engine: Engine, path: Path) -> None:
    store.write(batch_of(FULL))
    with engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    many = Batch()
    many.add(
        [PutUser(User(id=i, name=f"user{i:05}" * 9, created=NOW)) for i in range(9, 900)],
        Counters(user=900),
    )

    with pytest.raises(StateError, match=r"full.*free some space") as caught:
        store.write(many)

    assert str(path) in str(caught.value)
    assert store.read()[0] == FULL


def test_a_file_that_is_no_database_is_refused_with_the_way_out(path: Path) -> None:
    path.write_bytes(b"not a database at all, but longer than a header" * 100)

    with pytest.raises(StateError, match=r"coordination\.sqlite.*Restore"):
        Store(path)


def test_a_damaged_database_is_refused_at_start(path: Path) -> None:
    store = Store(path)
    batch = Batch()
    batch.add(
        [PutUser(User(id=i, name=f"user-{i}", created=NOW)) for i in range(1, 2000)],
        Counters(user=2000),
    )
    store.write(batch)
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 6)
        file.write(b"\xff" * 4096 * 8)

    with pytest.raises(StateError, match="Restore"):
        Store(path)


def test_a_commit_is_on_disk_before_it_is_acknowledged(store: Store, engine: Engine) -> None:
    store.write(batch_of(FULL))
    with engine.connect() as connection:
        mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        synchronous = connection.execute(text("PRAGMA synchronous")).scalar_one()

    assert (mode, synchronous) == ("wal", 2)  # 2 is FULL


def test_a_database_of_a_newer_program_is_refused(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    with pytest.raises(StateError, match="9999"):
        Store(path)
