"""Versions of the policy, and the roles of users: whoever was first is the owner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
    )
    op.add_column(
        "users", sa.Column("role", sa.String(), nullable=False, server_default="member")
    )
    op.execute("UPDATE users SET role = 'owner' WHERE id = (SELECT min(id) FROM users)")


def downgrade() -> None:
    op.drop_column("users", "role")
    op.drop_table("policies")
