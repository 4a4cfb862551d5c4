"""Where reports are kept. `events` is written by the hot path (`serving/intake.py`); its partitions here."""

from sqlalchemy import text
from sqlalchemy.orm import Session


def prepare_partitions(session: Session, *, days: int) -> None:
    """Make the partitions of the next days.

    From tomorrow on: a partition cannot be made once rows of its day lie in the default one.
    """
    session.execute(text("select create_event_partitions(current_date + 1, :days)"), {"days": days})
