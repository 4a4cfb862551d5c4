"""Rollout templates."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.store.base import Created, Table, locked


class TemplateRow(Table):
    """A rollout template: a rollout without model and version.

    Attributes:
        body: `stages`, `on_breach`, `priority`, `policy`, as far as they were given.
    """

    __tablename__ = "templates"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    body: Mapped[dict[str, Any]]
    created_at: Mapped[Created]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


def template(session: Session, name: str, *, lock: bool = False) -> TemplateRow | None:
    """A template by its name."""
    query = select(TemplateRow).where(TemplateRow.name == name)
    return session.scalar(locked(query) if lock else query)


def templates(session: Session) -> Sequence[TemplateRow]:
    """All templates, by name."""
    return session.scalars(select(TemplateRow).order_by(TemplateRow.name)).all()


def names_using_cohort(session: Session, cohort: str) -> Sequence[str]:
    """The names of templates with a stage on a cohort."""
    names = text("body -> 'stages' @> jsonb_build_array(jsonb_build_object('cohort', cast(:cohort as text)))")
    query = select(TemplateRow.name).where(names).order_by(TemplateRow.name)
    return session.scalars(query, {"cohort": cohort}).all()
