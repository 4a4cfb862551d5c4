"""What the plan of patches remembers: which pairs polls have asked for, and since when a patch is not served any more."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "patch_wishes",
        sa.Column("source_sha256", sa.Text(), nullable=False),
        sa.Column("target_sha256", sa.Text(), nullable=False),
        sa.Column("asked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_sha256"], ["blobs.sha256"], name=op.f("fk_patch_wishes_source_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["target_sha256"], ["blobs.sha256"], name=op.f("fk_patch_wishes_target_sha256")
        ),
        sa.PrimaryKeyConstraint("source_sha256", "target_sha256", name=op.f("pk_patch_wishes")),
    )
    op.add_column("patches", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("patches", "retired_at")
    op.drop_table("patch_wishes")
