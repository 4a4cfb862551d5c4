"""The person behind an API token: several tokens of one person are one voice."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_tokens", sa.Column("person", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_tokens", "person")
