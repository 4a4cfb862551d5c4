"""Rollouts to copy from: stages, gates and policy without model and version. Writes `templates`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.errors import NotFound
from service.operations import audit, rollouts
from service.operations.rollouts import StageDeclaration


@dataclass(frozen=True, slots=True)
class TemplateDeclaration:
    """A template as a release manager writes it.

    Attributes:
        stages: for the checks that every rollout has to pass.
        policy: the same.
        body: what is kept, as far as it was said: `stages`, `on_breach`, `priority`, `policy`.
    """

    name: str
    stages: Sequence[StageDeclaration]
    policy: dict[str, Any]
    body: dict[str, Any]
    description: str = ""


def put(
    session: Session, declaration: TemplateDeclaration, *, actor: str, now: datetime
) -> store.templates.TemplateRow:
    """Make a template, or change it; rollouts that were made from it stay as they are.

    Raises:
        NotFound: a stage names an absent cohort.
        InvalidStages, InvalidGate, InvalidPolicy: values that make no sense.
    """
    rollouts.check_shape(session, declaration.stages, declaration.policy)
    row = store.templates.template(session, declaration.name, lock=True)
    if row is None:
        row = store.templates.TemplateRow(name=declaration.name, body={}, created_at=now)
        session.add(row)
    row.body, row.description, row.updated_at = declaration.body, declaration.description, now
    session.flush()
    audit.record(
        session,
        actor=actor,
        verb="template.put",
        subject=f"template:{declaration.name}",
        now=now,
        detail=declaration.body,
    )
    return row


def require(session: Session, name: str) -> store.templates.TemplateRow:
    """A template by its name.

    Raises:
        NotFound: there is none.
    """
    row = store.templates.template(session, name)
    if row is None:
        raise NotFound(f"there is no template {name!r}", field="template")
    return row


def list_all(session: Session) -> Sequence[store.templates.TemplateRow]:
    """All templates, by name."""
    return store.templates.templates(session)


def remove(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Remove a template; rollouts that were made from it stay.

    Raises:
        NotFound: there is none.
    """
    session.delete(require(session, name))
    session.flush()
    audit.record(session, actor=actor, verb="template.remove", subject=f"template:{name}", now=now)
