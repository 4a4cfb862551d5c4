"""The serving epoch."""

from sqlalchemy import SmallInteger, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Table


class ServingEpochRow(Table):
    """The single row that triggers increment when data changes that polls are answered from."""

    __tablename__ = "serving_epoch"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    value: Mapped[int]


def epoch(session: Session) -> int:
    """The current epoch; processes reload their snapshot when it changes."""
    return session.scalar(select(ServingEpochRow.value)) or 0
