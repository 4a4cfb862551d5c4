"""Messages to webhooks until they arrive, rollouts to copy from, answers that had no body."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing has ever written these two: a row in them has no name and no secret that anybody knows.
    op.execute("delete from webhooks")
    op.drop_constraint("uq_webhooks_url", "webhooks")
    op.add_column("webhooks", sa.Column("name", sa.Text(), nullable=False))
    op.add_column("webhooks", sa.Column("previous_secret", sa.Text(), nullable=True))
    op.add_column("webhooks", sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("webhooks", sa.Column("problem", sa.Text(), server_default="", nullable=False))
    op.create_unique_constraint(op.f("uq_webhooks_name"), "webhooks", ["name"])
    table = "webhook_deliveries"
    op.add_column(table, sa.Column("message_id", sa.Text(), nullable=False))
    op.add_column(table, sa.Column("kind", sa.Text(), nullable=False))
    op.add_column(table, sa.Column("job_id", sa.Uuid(), nullable=False))
    op.add_column(table, sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column(table, sa.Column("problem", postgresql.JSONB(), nullable=True))
    op.add_column(table, sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True))
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_webhook_id_message_id"), table, ["webhook_id", "message_id"]
    )
    op.create_index("ix_webhook_deliveries_created_at", table, ["created_at"])
    op.create_table(
        "templates",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_templates")),
    )
    op.alter_column("idempotency_keys", "body", existing_type=postgresql.JSONB(), nullable=True)
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.execute("delete from idempotency_keys where body is null")
    op.alter_column("idempotency_keys", "body", existing_type=postgresql.JSONB(), nullable=False)
    op.drop_table("templates")
    table = "webhook_deliveries"
    op.drop_index("ix_webhook_deliveries_created_at", table_name=table)
    op.drop_constraint(op.f("uq_webhook_deliveries_webhook_id_message_id"), table)
    for column in ("given_up_at", "problem", "attempts", "job_id", "kind", "message_id"):
        op.drop_column(table, column)
    op.drop_constraint(op.f("uq_webhooks_name"), "webhooks")
    for column in ("problem", "previous_until", "previous_secret", "name"):
        op.drop_column("webhooks", column)
    # Two webhooks may have told the same address; the schema before had one for each.
    op.execute("delete from webhooks a using webhooks b where a.url = b.url and a.id > b.id")
    op.create_unique_constraint("uq_webhooks_url", "webhooks", ["url"])
