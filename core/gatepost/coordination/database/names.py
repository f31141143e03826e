"""What an administrator has said about names: one row, as JSON."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from gatepost.coordination.database import tables
from gatepost.coordination.database.rows import Row, rows
from gatepost.model.admin_names import NamesDocument

ONLY = 1  # the id of the row


def read_names(connection: Connection) -> NamesDocument:
    """Return the settings; the usual ones if there were none."""
    for row in rows(connection, tables.names):
        return msgspec.json.decode(row["settings"], type=NamesDocument)
    return NamesDocument()


def names_row(names: NamesDocument) -> Row:
    return {"id": ONLY, "settings": msgspec.json.encode(names).decode()}
