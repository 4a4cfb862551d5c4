"""What pacing counts, versions that nobody may skip, and under which circumstances an attempt was made."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "versions", sa.Column("watershed", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("attempts", sa.Column("circumstances", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "attempts", sa.Column("downloaded", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_index(
        "ix_attempts_downloading",
        "attempts",
        ["rollout_id"],
        postgresql_where=sa.text("closed_at is null and not downloaded"),
    )
    op.create_table(
        "pace",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name=op.f("fk_pace_rollout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "minute", name=op.f("pk_pace")),
    )
    op.create_table(
        "forgiven",
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_forgiven_device_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_forgiven_model")),
        sa.PrimaryKeyConstraint("device_id", "model", name=op.f("pk_forgiven")),
    )


def downgrade() -> None:
    op.drop_table("forgiven")
    op.drop_table("pace")
    op.drop_index("ix_attempts_downloading", "attempts")
    op.drop_column("attempts", "downloaded")
    op.drop_column("attempts", "circumstances")
    op.drop_column("versions", "watershed")
