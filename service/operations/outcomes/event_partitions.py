"""Daily partitions of the table `events`, which `serving.events.ingest` writes."""

from sqlalchemy import text
from sqlalchemy.orm import Session


def create_partitions(session: Session, *, days: int) -> None:
    """Create the partitions of the next `days` days, starting tomorrow.

    Not of today: a partition cannot be created once rows of its day are in the default partition.
    """
    session.execute(text("select create_event_partitions(current_date + 1, :days)"), {"days": days})
