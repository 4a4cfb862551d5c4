"""Applying a configuration document: everything in one transaction, or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.domain.platform.json_diff import Difference, json_diff
from service.errors import ConfigChanged, Invalid, ServiceError, StillInUse
from service.operations.configuration import documents, resources
from service.operations.configuration.resources import DesiredConfig, Resource
from service.operations.fleet import cohorts

_LOCK = 7_263_514_006
"""Advisory lock: one document at a time."""

Action = Literal["create", "update", "unchanged", "delete", "skipped"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one resource.

    Attributes:
        action: `skipped` if the resource differs from the document, or is not in it, and is left alone; see `reason`.
        differences: of a changed or skipped resource.
    """

    section: str
    name: str
    action: Action
    differences: Sequence[Difference] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The result of applying a document, or of a dry run.

    Attributes:
        secrets: webhook name -> secret of each new webhook; not shown again.
        etag: of the resulting configuration.
    """

    changes: Sequence[Change]
    secrets: Mapping[str, str]
    etag: str


@dataclass(slots=True)
class _Run:
    """One run of `apply`."""

    context: resources.Context
    changes: list[Change] = field(default_factory=list)


def apply(
    session: Session,
    desired: DesiredConfig,
    *,
    actor: str,
    now: datetime,
    prune: bool = False,
    dry_run: bool = False,
    expected_etag: str | None = None,
    allow_private: bool = False,
) -> ApplyResult:
    """Apply a document. Rollouts that are no longer drafts are only compared.

    Args:
        session: one transaction.
        desired: the document.
        actor: who applies it.
        now: the current time.
        prune: delete the resources that its sections do not contain, unless they are in use; models are kept.
        dry_run: report the changes without making them.
        expected_etag: fail if the configuration has another etag; None to accept any.
        allow_private: allow webhooks with private addresses.

    Raises:
        ConfigChanged: the configuration has another etag.
        ServiceError: a resource was refused; `field` begins with its place in the document.
    """
    session.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
    if expected_etag is not None and expected_etag != documents.etag(session):
        raise ConfigChanged("the configuration has changed; read it again and retry")
    savepoint = session.begin_nested()
    run = _Run(resources.Context(session, actor, now, allow_private))
    _apply_section(run, "models", desired.models, resources.model)
    _apply_section(run, "cohorts", desired.cohorts, resources.cohort)
    _apply_section(run, "templates", desired.templates, resources.template)
    _apply_section(run, "webhooks", desired.webhooks, resources.webhook)
    _apply_section(run, "rollouts", desired.rollouts, resources.rollout)
    if prune:
        _prune(run, desired)
    session.flush()
    if dry_run:
        savepoint.rollback()
        session.expire_all()
        run.context.secrets.clear()
    return ApplyResult(run.changes, run.context.secrets, documents.etag(session))


def _apply_section(
    run: _Run,
    section: str,
    declared: Sequence[Any] | None,
    resource_for: Callable[[resources.Context, Any], Resource],
) -> None:
    items = declared or ()
    _require_unique_names(section, [item.name for item in items])
    for index in _dependency_order(items):
        item = items[index]
        with _prefixing_field(f"{section}.{index}"):
            run.changes.append(_apply_resource(section, item.name, resource_for(run.context, item)))


def _require_unique_names(section: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Invalid(f"{name!r} occurs twice; list it once", field=f"{section}.{index}.name")


def _apply_resource(section: str, name: str, resource: Resource) -> Change:
    found = json_diff(resource.current or {}, resource.desired)
    if resource.current is not None and not found:
        return Change(section, name, "unchanged")
    if resource.skip_reason:
        return Change(section, name, "skipped", found, resource.skip_reason)
    resource.apply()
    return Change(section, name, "create" if resource.current is None else "update", found)


@contextmanager
def _prefixing_field(place: str) -> Iterator[None]:
    """Prefix the field of an error with the place in the document."""
    try:
        yield
    except ServiceError as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise


def _dependency_order(items: Sequence[Any]) -> list[int]:
    """Indexes such that a cohort comes after those that its rule refers to; cycles come last and are refused."""
    references = [cohorts.referenced_cohorts(getattr(item, "rule", None)) for item in items]
    names = {item.name for item in items}
    done: set[str] = set()
    order: list[int] = []
    waiting = list(range(len(items)))
    while ready := [index for index in waiting if references[index] & names <= done]:
        order += ready
        done |= {items[index].name for index in ready}
        waiting = [index for index in waiting if index not in ready]
    return order + waiting


def _prune(run: _Run, desired: DesiredConfig) -> None:
    """Delete what the sections of the document do not contain; resources in use before those that they use."""
    context = run.context
    if desired.rollouts is not None:
        for name in resources.cancel_drafts(context, except_names={item.name for item in desired.rollouts}):
            run.changes.append(Change("rollouts", name, "delete", reason="the draft is cancelled"))
    for section, rows, delete in resources.deletable(context):
        declared = getattr(desired, section)
        if declared is not None:
            kept = {item.name for item in declared}
            last_first = rows[::-1]
            names = [last_first[index].name for index in reversed(_dependency_order(last_first))]
            _delete(run, section, [name for name in names if name not in kept], delete)


def _delete(run: _Run, section: str, names: Sequence[str], delete: Callable[..., None]) -> None:
    context = run.context
    for name in names:
        try:
            delete(context.session, name, **context.audit_arguments())
            context.session.flush()
            run.changes.append(Change(section, name, "delete"))
        except StillInUse as error:
            run.changes.append(Change(section, name, "skipped", reason=error.detail))
