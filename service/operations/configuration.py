"""Bringing about what a document of the whole configuration says: all of it or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from service import store
from service.domain.differences import Difference, differences
from service.errors import ConfigChanged, Invalid, ServiceError, StillInUse
from service.operations import cohorts, models, rollout_effects, rollouts, templates, webhooks
from service.operations import configuration_forms as forms
from service.operations.cohorts import CohortDeclaration
from service.operations.rollouts import RolloutDeclaration
from service.operations.templates import TemplateDeclaration
from service.operations.webhooks import WebhookDeclaration

_LOCK = 7_263_514_006
"""Advisory lock: one document at a time."""

Action = Literal["create", "change", "unchanged", "delete", "kept"]
Form = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelDeclaration:
    """A model as a release manager writes it."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a document says; None for a section that it leaves out, which then stays as it is."""

    models: Sequence[ModelDeclaration] | None = None
    cohorts: Sequence[CohortDeclaration] | None = None
    templates: Sequence[TemplateDeclaration] | None = None
    webhooks: Sequence[WebhookDeclaration] | None = None
    rollouts: Sequence[RolloutDeclaration] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one thing.

    Attributes:
        action: `kept` is what differs, or is not named any more, and is left alone; `reason` says why.
    """

    section: str
    name: str
    action: Action
    differences: Sequence[Difference] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a document has brought about, or would.

    Attributes:
        secrets: of new webhooks, by name; shown this once.
        etag: of the configuration as it is now.
    """

    changes: Sequence[Change]
    secrets: Mapping[str, str]
    etag: str


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing of a document: how it is, how it shall be, and what makes it so."""

    before: Form | None
    after: Form
    put: Callable[[], object]
    kept: str = ""


@dataclass(slots=True)
class _Work:
    """One document on its way."""

    session: Session
    actor: str
    now: datetime
    allow_private: bool
    changes: list[Change] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def say(self) -> dict[str, Any]:
        """Who and when, for the single operations."""
        return {"actor": self.actor, "now": self.now}


def apply(
    session: Session,
    wanted: Wanted,
    *,
    actor: str,
    now: datetime,
    prune: bool = False,
    dry_run: bool = False,
    expected: str | None = None,
    allow_private: bool = False,
) -> Outcome:
    """Bring about what a document says. A rollout that has left its draft is only looked at.

    Args:
        session: one transaction.
        wanted: the document.
        actor: who hands it in.
        now: when.
        prune: remove what its sections do not name, as far as nothing depends on it; models stay.
        dry_run: find out, and change nothing.
        expected: the etag that the configuration must have; None for whichever.
        allow_private: webhooks may lead into the inner network.

    Raises:
        ConfigChanged: it has another etag.
        ServiceError: whatever the single operations refuse; `field` begins with the place in the document.
    """
    session.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
    if expected is not None and expected != forms.etag(session):
        raise ConfigChanged("somebody has changed something since you looked: look again")
    trial = session.begin_nested()
    work = _Work(session, actor, now, allow_private)
    _go_through(work, "models", wanted.models, _model)
    _go_through(work, "cohorts", wanted.cohorts, _cohort)
    _go_through(work, "templates", wanted.templates, _template)
    _go_through(work, "webhooks", wanted.webhooks, _webhook)
    _go_through(work, "rollouts", wanted.rollouts, _rollout)
    if prune:
        _prune(work, wanted)
    session.flush()
    if dry_run:
        trial.rollback()
        session.expire_all()
        work.secrets.clear()
    return Outcome(work.changes, work.secrets, forms.etag(session))


def _go_through(
    work: _Work, section: str, declared: Sequence[Any] | None, item_of: Callable[[_Work, Any], _Item]
) -> None:
    _require_single(section, [one.name for one in declared or ()])
    for index in _in_order(declared or ()):
        one = (declared or ())[index]
        with _at(f"{section}.{index}"):
            work.changes.append(_do(section, one.name, item_of(work, one)))


def _require_single(section: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Invalid(f"{name!r} is there twice", field=f"{section}.{index}.name")


def _do(section: str, name: str, item: _Item) -> Change:
    found = differences(item.before or {}, item.after)
    if item.before is not None and not found:
        return Change(section, name, "unchanged")
    if item.kept:
        return Change(section, name, "kept", found, item.kept)
    item.put()
    return Change(section, name, "create" if item.before is None else "change", found)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where in the document it was that something was refused."""
    try:
        yield
    except ServiceError as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise


def _in_order(declared: Sequence[Any]) -> list[int]:
    """Positions, so that a cohort comes behind those that its rule names; those in a circle last, to be refused."""
    rules = [cohorts.named_in(getattr(one, "rule", None)) for one in declared]
    own = {one.name for one in declared}
    done: set[str] = set()
    order: list[int] = []
    waiting = list(range(len(declared)))
    while ready := [at for at in waiting if rules[at] & own <= done]:
        order += ready
        done |= {declared[at].name for at in ready}
        waiting = [at for at in waiting if at not in ready]
    return order + waiting


def _model(work: _Work, one: ModelDeclaration) -> _Item:
    row = store.versions.model(work.session, one.name)
    after = {"description": one.description}
    before = None if row is None else forms.model(row)
    return _Item(
        before, after, lambda: models.describe(work.session, one.name, one.description, **work.say())
    )


def _cohort(work: _Work, one: CohortDeclaration) -> _Item:
    row = store.cohorts.cohort(work.session, one.name)
    before = None if row is None else forms.cohort(row)
    after: dict[str, Any] = {"description": one.description, "rule": one.rule}
    if one.devices is not None:
        wanted, listed = set(one.devices), store.cohorts.members_of(work.session, one.name)
        after["devices"] = f"{len(wanted)} listed"
        if before is not None:
            before["devices"] = after["devices"] if listed == wanted else f"{len(listed)} others listed"
    return _Item(before, after, lambda: cohorts.put(work.session, one, **work.say()))


def _template(work: _Work, one: TemplateDeclaration) -> _Item:
    row = store.templates.template(work.session, one.name)
    after = {"description": one.description, **one.body}
    before = None if row is None else forms.template(row)
    return _Item(before, after, lambda: templates.put(work.session, one, **work.say()))


def _webhook(work: _Work, one: WebhookDeclaration) -> _Item:
    row = store.webhooks.webhook(work.session, one.name)

    def put() -> None:
        _row, secret = webhooks.put(work.session, one, allow_private=work.allow_private, **work.say())
        if secret is not None:
            work.secrets[one.name] = secret

    after = {"url": one.url, "kinds": list(one.kinds), "active": one.active}
    return _Item(None if row is None else forms.webhook(row), after, put)


def _rollout(work: _Work, one: RolloutDeclaration) -> _Item:
    row = store.rollouts.rollout_by_name(work.session, one.name)
    after = forms.declared_rollout(one)
    if row is None:
        return _Item(None, after, lambda: rollouts.create(work.session, one, **work.say()))
    kept = "" if row.state == "draft" else f"it is {row.state}: only drafts are changed by a document"
    before = forms.rollout(work.session, row)
    return _Item(before, after, lambda: rollouts.change_draft(work.session, row, one, **work.say()), kept)


def _prune(work: _Work, wanted: Wanted) -> None:
    """Remove what the document's sections do not name: first what depends, then what is depended on."""
    session, say = work.session, work.say()
    if wanted.rollouts is not None:
        present = {row.name: row for row in store.rollouts.drafts(session)}
        for name in _absent(list(present), wanted.rollouts):
            reason = "not in the configuration any more"
            rollout_effects.carry_out(session, present[name], "cancel", reason=reason, **say)
            work.changes.append(Change("rollouts", name, "delete", reason="the draft is cancelled"))
    if wanted.templates is not None:
        names = [row.name for row in templates.list_all(session)]
        _remove(work, "templates", _absent(names, wanted.templates), templates.remove)
    if wanted.webhooks is not None:
        names = [row.name for row in webhooks.list_all(session)]
        _remove(work, "webhooks", _absent(names, wanted.webhooks), webhooks.remove)
    if wanted.cohorts is not None:
        rows = store.cohorts.cohorts(session)
        names = [rows[at].name for at in reversed(_in_order(rows))]
        _remove(work, "cohorts", _absent(names, wanted.cohorts), cohorts.remove)


def _absent(names: Sequence[str], declared: Sequence[Any]) -> list[str]:
    named = {one.name for one in declared}
    return [name for name in names if name not in named]


def _remove(work: _Work, section: str, names: Sequence[str], remove: Callable[..., None]) -> None:
    for name in names:
        try:
            remove(work.session, name, **work.say())
            work.session.flush()
            work.changes.append(Change(section, name, "delete"))
        except StillInUse as error:
            work.changes.append(Change(section, name, "kept", reason=error.detail))
