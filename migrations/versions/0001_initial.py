"""The initial schema: tables, triggers and event partitions.

The statements are in `migrations/sql`, one file for each part. The tables equal those of `service.store`.
"""

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTS = (
    "releases",
    "fleet",
    "rollouts",
    "outcomes",
    "platform",
    "serving_epoch",
    "event_partitions",
    "outcome_totals",
)
"""Files in the order of their foreign keys; triggers come after the tables."""


def upgrade() -> None:
    for part in PARTS:
        op.execute((files("migrations") / "sql" / f"{part}.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute((files("migrations") / "sql" / "drop.sql").read_text(encoding="utf-8"))
