"""Cohorts and their member lists."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ForeignKey,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from service.store.base import Created, Table


class CohortRow(Table):
    """A named part of the fleet, defined by a rule, a member list, or both."""

    __tablename__ = "cohorts"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    rule: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    updated_at: Mapped[Created]


class CohortMemberRow(Table):
    """A device on the member list of a cohort."""

    __tablename__ = "cohort_members"

    cohort: Mapped[str] = mapped_column(ForeignKey("cohorts.name", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)


def cohort(session: Session, name: str, *, lock: bool = False) -> CohortRow | None:
    """A cohort by its name."""
    return session.get(CohortRow, name, with_for_update=lock)


def cohorts(session: Session) -> Sequence[CohortRow]:
    """All cohorts, by name."""
    return session.scalars(select(CohortRow).order_by(CohortRow.name)).all()


def list_checksums(session: Session) -> dict[str, tuple[int, int]]:
    """Return cohort name -> (length, hash) of its member list; equal checksums mean equal lists."""
    hashes = func.sum(func.hashtextextended(CohortMemberRow.device_id, 0))
    query = select(CohortMemberRow.cohort, func.count(), hashes).group_by(CohortMemberRow.cohort)
    return {name: (count, int(total)) for name, count, total in session.execute(query)}


def members_of(session: Session, cohort_name: str) -> frozenset[str]:
    """The member list of a cohort.

    Fetched in 64 pieces, because parsing one long array would block all other threads.
    """
    piece = func.hashtext(CohortMemberRow.device_id).op("&")(63)
    query = (
        select(func.array_agg(CohortMemberRow.device_id))
        .where(CohortMemberRow.cohort == cohort_name)
        .group_by(piece)
    )
    return frozenset().union(*session.scalars(query).yield_per(1))


def cohort_members(session: Session) -> dict[str, frozenset[str]]:
    """All member lists: cohort name -> device ids."""
    return {name: members_of(session, name) for name in list_checksums(session)}


def member_counts(session: Session) -> dict[str, int]:
    """Return cohort name -> length of its member list."""
    query = select(CohortMemberRow.cohort, func.count()).group_by(CohortMemberRow.cohort)
    return dict(session.execute(query).all())


def have_common_member(session: Session, name: str, other: str) -> bool:
    """Whether some device is on both member lists."""
    both = aliased(CohortMemberRow)
    query = select(CohortMemberRow.device_id).join(both, both.device_id == CohortMemberRow.device_id)
    found = session.scalar(query.where(CohortMemberRow.cohort == name, both.cohort == other).limit(1))
    return found is not None


def listed_cohorts(session: Session) -> Sequence[str]:
    """The names of cohorts that have a member list."""
    return session.scalars(select(CohortMemberRow.cohort).distinct()).all()
