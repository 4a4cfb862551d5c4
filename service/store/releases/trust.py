"""The chain of trust bundles."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table


class TrustBundleRow(Table):
    """A signed trust bundle; their versions form a chain."""

    __tablename__ = "trust_bundles"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    envelope: Mapped[bytes]
    created_at: Mapped[Created]


def trust_chain(session: Session, *, after: int = 0) -> Sequence[TrustBundleRow]:
    """Trust bundles above a version, oldest first."""
    query = select(TrustBundleRow).where(TrustBundleRow.version > after)
    return session.scalars(query.order_by(TrustBundleRow.version)).all()
