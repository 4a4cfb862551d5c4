"""Strata of attempts, histograms of what devices measure, verdicts with the counts they saw."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "rollouts",
        sa.Column("held", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
    )
    op.add_column("rollouts", sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True))
    for name in ("early", "early_bad"):
        op.add_column("rollups", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        "create index ix_rollups_minutes on rollups (minute) where extract(minute from minute at time zone 'UTC') <> 0"
    )
    op.execute(
        "create index ix_rollups_hours on rollups (minute) where extract(hour from minute at time zone 'UTC') <> 0"
    )
    op.create_table(
        "strata",
        _rollout(),
        sa.Column("stratum", sa.Text(), nullable=False),
        _moment("seen_at"),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_strata_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "stratum", name="pk_strata"),
    )
    op.create_table(
        "metric_names",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        _moment("seen_at"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_metric_names_model"),
        sa.PrimaryKeyConstraint("model", "name", name="pk_metric_names"),
    )
    _create_metric_tables()
    op.create_table(
        "verdicts",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        _rollout(),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("figures", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_verdicts_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
    )
    op.create_index("ix_verdicts_rollout", "verdicts", ["rollout_id", "id"])


def _create_metric_tables() -> None:
    op.create_table(
        "metric_rollups",
        _rollout(),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_metric_rollups_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "rollout_id", "metric", "stage", "stratum", "arm", "day", "bucket", name="pk_metric_rollups"
        ),
    )
    op.execute("create index ix_metric_rollups_days on metric_rollups (day) where extract(day from day) <> 1")
    op.create_table(
        "metric_totals",
        _rollout(),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_metric_totals_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "metric", "stage", "stratum", "arm", name="pk_metric_totals"),
    )
    op.create_table(
        "metric_marks",
        _rollout(),
        sa.Column("mark", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollouts.id"], name="fk_metric_marks_rollout_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "mark", name="pk_metric_marks"),
    )


def _rollout() -> sa.Column[object]:
    return sa.Column("rollout_id", sa.Uuid(), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def downgrade() -> None:
    for table in ("verdicts", "metric_marks", "metric_totals", "metric_rollups", "metric_names", "strata"):
        op.drop_table(table)
    for index in ("ix_rollups_hours", "ix_rollups_minutes"):
        op.drop_index(index, "rollups")
    for name in ("early_bad", "early"):
        op.drop_column("rollups", name)
    op.drop_column("rollouts", "activated_at")
    op.drop_column("rollouts", "held")
