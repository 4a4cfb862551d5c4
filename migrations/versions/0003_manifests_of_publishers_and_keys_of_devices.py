"""Publishers may sign for themselves; devices may change their key, have a shared secret, be kept to some models.

A device has a public key; or, with the HMAC mode, the salt that its secret is derived from; or neither, where the
app's own identity provider vouches for it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "versions",
        sa.Column("signed_by_publisher", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.alter_column("devices", "public_key", existing_type=sa.LargeBinary(), nullable=True)
    op.add_column("devices", sa.Column("pending_key", sa.LargeBinary(), nullable=True))
    op.add_column("devices", sa.Column("secret_salt", sa.LargeBinary(), nullable=True))
    op.add_column("devices", sa.Column("models", postgresql.ARRAY(sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "models")
    op.drop_column("devices", "secret_salt")
    op.drop_column("devices", "pending_key")
    # The schema before had no devices without a key: they enrol again.
    op.execute("delete from devices where public_key is null")
    op.alter_column("devices", "public_key", existing_type=sa.LargeBinary(), nullable=False)
    op.drop_column("versions", "signed_by_publisher")
