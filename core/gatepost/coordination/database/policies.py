"""Versions of the policy: rows <-> values."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection

from gatepost.coordination.database import tables
from gatepost.coordination.database.rows import Row, rows
from gatepost.coordination.records import PolicyVersion


def read_policy(connection: Connection) -> PolicyVersion | None:
    """Return the version in force."""
    newest = tables.policies.select().order_by(tables.policies.c.id.desc()).limit(1)
    row = connection.execute(newest).mappings().first()
    return None if row is None else PolicyVersion(**{str(k): v for k, v in row.items()})


def read_policies(connection: Connection) -> tuple[PolicyVersion, ...]:
    """Return every version, the oldest first."""
    return tuple(PolicyVersion(**row) for row in rows(connection, tables.policies))


def policy_row(policy: PolicyVersion) -> Row:
    return asdict(policy)
