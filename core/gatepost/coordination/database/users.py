"""Users and pre-auth keys: rows <-> values."""

from __future__ import annotations

from sqlalchemy import Connection

from gatepost.coordination.database import tables
from gatepost.coordination.database.rows import Row, read_list, rows, write_list
from gatepost.coordination.records import NOBODY, PreAuthKey, User


def read_users(connection: Connection) -> dict[int, User]:
    return {r["id"]: User(**r) for r in rows(connection, tables.users)}


def user_row(user: User) -> Row:
    return {
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "created": user.created,
        "role": user.role,
    }


def read_keys(connection: Connection) -> dict[int, PreAuthKey]:
    return {r["id"]: _key(r) for r in rows(connection, tables.pre_auth_keys)}


def key_row(key: PreAuthKey) -> Row:
    return {
        "id": key.id,
        "user_id": key.user_id or None,
        "digest": key.digest,
        "prefix": key.prefix,
        "reusable": key.reusable,
        "ephemeral": key.ephemeral,
        "tags": write_list(key.tags),
        "created": key.created,
        "expires": key.expires,
        "used": key.used,
        "revoked": key.revoked,
    }


def _key(row: Row) -> PreAuthKey:
    values = dict(row)
    values["user_id"] = values["user_id"] or NOBODY
    values["tags"] = read_list(values["tags"])
    return PreAuthKey(**values)
