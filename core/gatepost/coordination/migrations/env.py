"""Runs the migrations on the connection that the store hands in (alembic's entry point)."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from gatepost.coordination.database.tables import metadata


def run(connection: Connection) -> None:
    """Upgrade within the transaction that the store has begun."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
