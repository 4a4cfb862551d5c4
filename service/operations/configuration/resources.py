"""The resources of a configuration document: their current and desired content, and how to apply them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.operations.configuration import documents
from service.operations.fleet import cohorts
from service.operations.fleet.cohorts import CohortDeclaration
from service.operations.platform import webhooks
from service.operations.platform.webhooks import WebhookDeclaration
from service.operations.releases import models
from service.operations.rollouts import drafts, templates, transitions
from service.operations.rollouts.drafts import RolloutDeclaration
from service.operations.rollouts.templates import TemplateDeclaration


@dataclass(frozen=True, slots=True)
class ModelDeclaration:
    """A model as a release manager declares it."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class DesiredConfig:
    """A configuration document; None for a section that it omits and leaves unchanged."""

    models: Sequence[ModelDeclaration] | None = None
    cohorts: Sequence[CohortDeclaration] | None = None
    templates: Sequence[TemplateDeclaration] | None = None
    webhooks: Sequence[WebhookDeclaration] | None = None
    rollouts: Sequence[RolloutDeclaration] | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a document.

    Attributes:
        current: its present content; None if it does not exist.
        desired: its content in the document.
        apply: makes the desired content current.
        skip_reason: why it must not be changed; empty if it may be.
    """

    current: Mapping[str, Any] | None
    desired: Mapping[str, Any]
    apply: Callable[[], object]
    skip_reason: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What applying a resource needs.

    Attributes:
        secrets: receives the secrets of new webhooks, by name.
    """

    session: Session
    actor: str
    now: datetime
    allow_private: bool
    secrets: dict[str, str] = field(default_factory=dict)

    def audit_arguments(self) -> dict[str, Any]:
        """The arguments `actor` and `now` of an operation."""
        return {"actor": self.actor, "now": self.now}


def model(context: Context, item: ModelDeclaration) -> Resource:
    """A model."""
    row = store.versions.model(context.session, item.name)
    current = None if row is None else documents.model(row)

    def apply() -> None:
        models.set_description(context.session, item.name, item.description, **context.audit_arguments())

    return Resource(current, {"description": item.description}, apply)


def cohort(context: Context, item: CohortDeclaration) -> Resource:
    """A cohort; member lists are compared, but only their lengths are shown."""
    session = context.session
    row = store.cohorts.cohort(session, item.name)
    current = None if row is None else documents.cohort(row)
    desired: dict[str, Any] = {"description": item.description, "rule": item.rule}
    if item.devices is not None:
        declared, listed = set(item.devices), store.cohorts.members_of(session, item.name)
        desired["devices"] = f"{len(declared)} listed"
        if current is not None:
            same = listed == declared
            current["devices"] = desired["devices"] if same else f"{len(listed)} others listed"
    return Resource(current, desired, lambda: cohorts.put(session, item, **context.audit_arguments()))


def template(context: Context, item: TemplateDeclaration) -> Resource:
    """A rollout template."""
    session = context.session
    row = store.templates.template(session, item.name)
    current = None if row is None else documents.template(row)
    desired = {"description": item.description, **item.body}
    return Resource(current, desired, lambda: templates.put(session, item, **context.audit_arguments()))


def webhook(context: Context, item: WebhookDeclaration) -> Resource:
    """A webhook; applying a new one adds its secret to the context."""
    row = store.webhooks.webhook(context.session, item.name)

    def apply() -> None:
        _row, secret = webhooks.put(
            context.session, item, allow_private=context.allow_private, **context.audit_arguments()
        )
        if secret is not None:
            context.secrets[item.name] = secret

    desired = {"url": item.url, "event_types": list(item.event_types), "active": item.active}
    return Resource(None if row is None else documents.webhook(row), desired, apply)


def rollout(context: Context, item: RolloutDeclaration) -> Resource:
    """A rollout; only drafts can be changed."""
    session = context.session
    row = store.rollouts.rollout_by_name(session, item.name)
    desired = documents.declared_rollout(item)
    if row is None:
        return Resource(None, desired, lambda: drafts.create(session, item, **context.audit_arguments()))
    reason = "" if row.state == "draft" else f"it is {row.state}; a document changes drafts only"
    return Resource(
        documents.rollout(session, row),
        desired,
        lambda: drafts.update(session, row, item, **context.audit_arguments()),
        reason,
    )


def cancel_drafts(context: Context, *, except_names: Collection[str]) -> list[str]:
    """Cancel all drafts but those named; return the names of the cancelled ones."""
    cancelled = [row for row in store.rollouts.drafts(context.session) if row.name not in except_names]
    for row in cancelled:
        transitions.apply_transition(
            context.session,
            row,
            "cancel",
            reason="no longer in the configuration",
            **context.audit_arguments(),
        )
    return [row.name for row in cancelled]


def deletable(context: Context) -> Iterator[tuple[str, Sequence[Any], Callable[..., None]]]:
    """Yield (section, rows, delete function), sections in use before those that they use."""
    session = context.session
    yield "templates", templates.list_all(session), templates.delete
    yield "webhooks", webhooks.list_all(session), webhooks.delete
    yield "cohorts", store.cohorts.cohorts(session), cohorts.delete
