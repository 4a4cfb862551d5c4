"""Who agreed to a rollout, and how devices are brought back."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("waits_for", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "approvals",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"],
            ["rollouts.id"],
            name=op.f("fk_approvals_rollout_id_rollouts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("rollout_id", "actor", name=op.f("pk_approvals")),
    )
    op.create_index(
        "ix_attempts_staged",
        "attempts",
        ["rollout_id", "stage", "stratum"],
        postgresql_where=sa.text("closed_at is null and state = 'staged'"),
    )


def downgrade() -> None:
    op.drop_index("ix_attempts_staged", table_name="attempts")
    op.drop_table("approvals")
    op.drop_column("rollouts", "waits_for")
