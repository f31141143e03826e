"""The tables as the newest migration leaves them (a test compares the two).

Times are seconds since 1970; keys are their 32 bytes; addresses and prefixes
are text, lists are JSON text.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

counters = Table(  # the next id of each kind: an id is never used twice
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("next", Integer, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("display_name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("role", String, nullable=False, server_default="member"),
)

policies = Table(  # every version of the policy; the newest is in force
    "policies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", String, nullable=False),
    Column("author", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("note", String, nullable=False),
)

names = Table(  # one row, or none: what nodes are told about names
    "names",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("settings", String, nullable=False),  # JSON
)

pre_auth_keys = Table(
    "pre_auth_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("prefix", String, nullable=False),
    Column("reusable", Boolean, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
    Column("tags", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=True),
    Column("used", Integer, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=True),
    Column("machine", LargeBinary(32), nullable=False),
    Column("key", LargeBinary(32), nullable=False, unique=True),
    Column("label", String, nullable=False, unique=True),
    Column("renamed", Boolean, nullable=False),
    Column("address", String, nullable=False, unique=True),
    Column("tags", String, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("key_expiry", Float, nullable=True),
    Column("approved_routes", String, nullable=False),
    Column("only_routes", String, nullable=True),
    Column("refused_routes", String, nullable=False, server_default="[]"),
    Column("preferred_routes", String, nullable=False, server_default="[]"),
    UniqueConstraint("machine", "user_id"),
)

primaries = Table(  # who carries a prefix that several nodes could
    "primaries",
    metadata,
    Column("prefix", String, primary_key=True),
    Column("node_id", Integer, nullable=False),
)

reports = Table(  # what a node last said about itself
    "reports",
    metadata,
    Column("node_id", Integer, ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("hostinfo", LargeBinary, nullable=False),  # JSON
    Column("endpoints", String, nullable=False),
    Column("disco", LargeBinary(32), nullable=True),
    Column("version", Integer, nullable=False),
    Column("last_seen", Float, nullable=True),
)
