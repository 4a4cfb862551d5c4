"""Rollout templates: stages, gates and policy without model and version. Writes `templates`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.errors import NotFound
from service.operations.platform import audit
from service.operations.rollouts import drafts
from service.operations.rollouts.drafts import StageDeclaration


@dataclass(frozen=True, slots=True)
class TemplateDeclaration:
    """A template as a release manager declares it.

    Attributes:
        stages: the stages, for validation.
        policy: the policy, for validation.
        body: what is stored, as far as it was given: `stages`, `on_breach`, `priority`, `policy`.
    """

    name: str
    stages: Sequence[StageDeclaration]
    policy: dict[str, Any]
    body: dict[str, Any]
    description: str = ""


def put(
    session: Session, declaration: TemplateDeclaration, *, actor: str, now: datetime
) -> store.templates.TemplateRow:
    """Create or replace a template. Rollouts created from it do not change.

    Raises:
        NotFound: a stage uses an unknown cohort.
        InvalidStages, InvalidGate, InvalidPolicy: the declaration is invalid.
    """
    drafts.validate_shape(session, declaration.stages, declaration.policy)
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
    """The template with that name.

    Raises:
        NotFound: there is none.
    """
    row = store.templates.template(session, name)
    if row is None:
        raise NotFound(f"there is no template {name!r}; see `graylag template list`", field="template")
    return row


def complete(
    session: Session,
    name: str,
    declared: Mapping[str, Any],
    *,
    unsaved: Mapping[str, TemplateDeclaration] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the declared fields of a rollout, completed from a template; the policy is merged field by field.

    Args:
        session: the transaction.
        name: name of the template.
        declared: the fields that the rollout declares, as JSON.
        unsaved: name -> template of the same configuration document; these take precedence over stored templates.

    Raises:
        NotFound: there is no such template.
    """
    template = unsaved[name].body if name in unsaved else require(session, name).body
    policy = {**template.get("policy", {}), **declared.get("policy", {})}
    return {**template, **declared, "policy": policy}


def list_all(session: Session) -> Sequence[store.templates.TemplateRow]:
    """All templates, by name."""
    return store.templates.templates(session)


def delete(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Delete a template. Rollouts created from it do not change.

    Raises:
        NotFound: there is none.
    """
    session.delete(require(session, name))
    session.flush()
    audit.record(session, actor=actor, verb="template.delete", subject=f"template:{name}", now=now)
