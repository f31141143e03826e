"""What all table families share: lists as JSON text, and "insert or overwrite"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import Insert, insert

Row = Mapping[str, Any]  # a column holds what the table says it holds


def write_list(items: Sequence[str]) -> str:
    return msgspec.json.encode(items).decode()


def read_list(text: str) -> tuple[str, ...]:
    """Read what `write_list` wrote; raise `msgspec.MsgspecError` for anything else."""
    return msgspec.json.decode(text, type=tuple[str, ...])


def rows(connection: Connection, table: Table) -> list[Row]:
    """Return all rows, in the order of the primary key."""
    found = connection.execute(table.select().order_by(*table.primary_key.columns)).mappings()
    return [{str(name): value for name, value in row.items()} for row in found]


def put(connection: Connection, table: Table, values: Sequence[Row]) -> None:
    """Insert the rows; where the primary key is there already, overwrite."""
    if values:
        connection.execute(_upsert(table), list(values))


@cache
def _upsert(table: Table) -> Insert:
    statement = insert(table)
    keys = list(table.primary_key.columns)
    changes = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def drop(connection: Connection, table: Table, row_id: int) -> None:
    """Delete the row with this id, if there is one."""
    connection.execute(table.delete().where(table.c.id == row_id))
