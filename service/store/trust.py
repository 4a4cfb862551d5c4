"""What every API process keeps in memory beside rollouts: the chain of trust bundles, and the number that moves."""

from collections.abc import Sequence

from sqlalchemy import SmallInteger, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table


class TrustBundleRow(Table):
    """The chain of trust bundles, as signed."""

    __tablename__ = "trust_bundles"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    envelope: Mapped[bytes]
    created_at: Mapped[Created]


class ServingEpochRow(Table):
    """One row that moves, in the same transaction, with everything that polls are answered from."""

    __tablename__ = "serving_epoch"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    value: Mapped[int]


def trust_chain(session: Session, *, after: int = 0) -> Sequence[TrustBundleRow]:
    """Trust bundles above a version, oldest first."""
    query = select(TrustBundleRow).where(TrustBundleRow.version > after)
    return session.scalars(query.order_by(TrustBundleRow.version)).all()


def epoch(session: Session) -> int:
    """The number that moves with everything that polls are answered from."""
    return session.scalar(select(ServingEpochRow.value)) or 0
