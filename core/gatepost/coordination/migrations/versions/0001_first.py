"""Users, pre-auth keys, nodes and their reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "pre_auth_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("reusable", sa.Boolean(), nullable=False),
        sa.Column("ephemeral", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pre_auth_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_pre_auth_keys_user_id"),
        sa.UniqueConstraint("digest", name="uq_pre_auth_keys_digest"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("machine", sa.LargeBinary(32), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("renamed", sa.Boolean(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("tags", sa.String(), nullable=False),
        sa.Column("ephemeral", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("key_expiry", sa.Float(), nullable=True),
        sa.Column("approved_routes", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_nodes_user_id"),
        sa.UniqueConstraint("key", name="uq_nodes_key"),
        sa.UniqueConstraint("label", name="uq_nodes_label"),
        sa.UniqueConstraint("address", name="uq_nodes_address"),
        sa.UniqueConstraint("machine", "user_id", name="uq_nodes_machine_user_id"),
    )
    op.create_table(
        "reports",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("hostinfo", sa.LargeBinary(), nullable=False),
        sa.Column("endpoints", sa.String(), nullable=False),
        sa.Column("disco", sa.LargeBinary(32), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("node_id", name="pk_reports"),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name="fk_reports_node_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    for table in ("reports", "nodes", "pre_auth_keys", "users", "counters"):
        op.drop_table(table)
