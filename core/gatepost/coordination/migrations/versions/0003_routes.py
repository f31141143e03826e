"""Which routes a node is shown, for which it is preferred, and who carries what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("only_routes", sa.String(), nullable=True))
    for name in ("refused_routes", "preferred_routes"):
        op.add_column("nodes", sa.Column(name, sa.String(), nullable=False, server_default="[]"))
    op.create_table(
        "primaries",
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name="pk_primaries"),
    )


def downgrade() -> None:
    op.drop_table("primaries")
    for name in ("only_routes", "refused_routes", "preferred_routes"):
        op.drop_column("nodes", name)
