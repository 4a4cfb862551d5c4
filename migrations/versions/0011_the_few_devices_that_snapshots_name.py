"""Snapshots find the few devices that they name without reading a million that they do not."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_WHERE = {
    "ix_devices_not_accepted": "status <> 'accepted'",
    "ix_devices_admin_attributes": "admin_attributes <> '{}'::jsonb",
}


def upgrade() -> None:
    for name, where in _WHERE.items():
        op.create_index(name, "devices", ["id"], postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in _WHERE:
        op.drop_index(name, table_name="devices")
