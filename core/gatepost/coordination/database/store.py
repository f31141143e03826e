"""Opens the database and writes batches of edits, each in one transaction.

SQLite with a write-ahead log and synchronous=FULL: when `write` returns, the
batch survives a power cut. Everything here blocks, so the ledger calls it in a
thread; one connection writes, and nobody else has the file open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from gatepost.coordination.database import names, nodes, policies, tables, users
from gatepost.coordination.database.rows import drop, put, rows
from gatepost.coordination.records import (
    Counters,
    DropKey,
    DropNode,
    DropUser,
    Edit,
    PolicyVersion,
    PutKey,
    PutNames,
    PutNode,
    PutPolicy,
    PutUser,
    Records,
    Report,
)
from gatepost.errors import StateError
from gatepost.model.netmap import IPNetwork

_MIGRATIONS = Path(__file__).parent.parent / "migrations"


@dataclass(slots=True)
class Batch:
    """What one transaction writes: the edits in their order, then the newest reports."""

    edits: list[Edit] = field(default_factory=list[Edit])
    reports: dict[int, Report] = field(default_factory=dict[int, Report])
    counters: Counters | None = None
    primaries: Mapping[IPNetwork, int] | None = None  # None: as they were

    def add(self, edits: Iterable[Edit], counters: Counters) -> None:
        self.counters = counters
        for edit in edits:
            self.edits.append(edit)
            if isinstance(edit, DropNode):
                self.reports.pop(edit.id, None)


class Store:
    """The database file. Not for use by two threads at once."""

    def __init__(self, path: Path, engine: Engine | None = None) -> None:
        """Open, check and migrate; raise `StateError` if the file cannot be used.

        `engine` is one of `open_engine(path)`, if the caller wants to see it.
        """
        self._path = path
        self._engine = engine or open_engine(path)
        try:
            with self._guarded():
                with self._engine.connect() as connection:
                    _check(connection, path)
                with self._engine.begin() as connection:
                    migrate(connection)
        except BaseException:
            self._engine.dispose()
            raise

    def read(self) -> tuple[Records, Mapping[int, Report]]:
        """Return everything that was ever acknowledged."""
        with self._guarded(), self._engine.connect() as connection:
            next_ids = {r["name"]: r["next"] for r in rows(connection, tables.counters)}
            counters = Counters(**next_ids)
            records = Records.of(
                users.read_users(connection).values(),
                users.read_keys(connection).values(),
                nodes.read_nodes(connection).values(),
                counters,
                policies.read_policy(connection),
                names.read_names(connection),
            )
            return records, nodes.read_reports(connection)

    def read_policies(self) -> tuple[PolicyVersion, ...]:
        """Return every version of the policy, the oldest first."""
        with self._guarded(), self._engine.connect() as connection:
            return policies.read_policies(connection)

    def read_primaries(self) -> Mapping[IPNetwork, int]:
        """Return who carried each prefix that several nodes could; a node may be gone."""
        with self._guarded(), self._engine.connect() as connection:
            return nodes.read_primaries(connection)

    def write(self, batch: Batch) -> None:
        """Write all or nothing; raise `StateError` (full disk, lost file) for nothing."""
        with self._guarded(), self._engine.begin() as connection:
            for edit in batch.edits:
                _write(connection, edit)
            reports = [nodes.report_row(i, r) for i, r in batch.reports.items()]
            put(connection, tables.reports, reports)
            if batch.primaries is not None:
                nodes.write_primaries(connection, batch.primaries)
            if batch.counters is not None:
                _put_counters(connection, batch.counters)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _guarded(self) -> Generator[None]:
        """Turn what SQLAlchemy raises into `StateError`: the text says which file and why."""
        try:
            yield
        except DatabaseError as error:
            raise StateError(f"{self._path}: {error.orig}. {_way_out(error.orig)}") from error
        except CommandError as error:
            raise StateError(
                f"{self._path} was made by a newer version of this program ({error}): "
                "install that version, or restore a backup"
            ) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StateError(f"{self._path}: {error}") from error


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to the newest version, or up to an older one."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _write(connection: Connection, edit: Edit) -> None:
    match edit:
        case PutUser(user):
            put(connection, tables.users, [users.user_row(user)])
        case PutKey(key):
            put(connection, tables.pre_auth_keys, [users.key_row(key)])
        case PutNode(node, report):
            put(connection, tables.nodes, [nodes.node_row(node)])
            if report is not None:
                put(connection, tables.reports, [nodes.report_row(node.id, report)])
        case PutPolicy(policy):
            put(connection, tables.policies, [policies.policy_row(policy)])
        case PutNames(settings):
            put(connection, tables.names, [names.names_row(settings)])
        case DropUser(id=user_id):
            drop(connection, tables.users, user_id)
        case DropKey(id=key_id):
            drop(connection, tables.pre_auth_keys, key_id)
        case DropNode(id=node_id):
            drop(connection, tables.nodes, node_id)


def open_engine(path: Path) -> Engine:
    """Return an engine with one connection that keeps the promises of this module.

    Left to itself, the driver begins a transaction at the first row that is written, so
    that the tables a migration makes before would stay if the rest of it failed.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
    )

    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions are begun here, not by the driver
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _check(connection: Connection, path: Path) -> None:
    verdict = connection.execute(text("PRAGMA integrity_check(1)")).scalar()
    if verdict != "ok":
        raise StateError(f"{path} is damaged: {verdict}. Restore it from a backup.")


def _put_counters(connection: Connection, counters: Counters) -> None:
    put(connection, tables.counters, [{"name": n, "next": v} for n, v in asdict(counters).items()])


def _way_out(error: BaseException | None) -> str:
    reason = str(error)
    if "full" in reason or "disk I/O" in reason:
        return "Nothing was changed; free some space on that disk and try again."
    if "malformed" in reason or "not a database" in reason:
        return "Restore the file from a backup."
    return "Nothing was changed."
