"""Models, and their kill switches. Writes `models`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts.lifecycle import require_reason
from service.errors import UnknownModel
from service.operations.platform import audit


def create(
    session: Session, name: str, *, actor: str, now: datetime, description: str = ""
) -> store.versions.ModelRow:
    """The model with that name, inserted if it is new."""
    inserted = session.execute(
        insert(store.versions.ModelRow)
        .values(name=name, description=description)
        .on_conflict_do_nothing()
        .returning(store.versions.ModelRow.name)
    ).scalar()
    if inserted:
        audit.record(session, actor=actor, verb="model.create", subject=f"model:{name}", now=now)
    return require(session, name)


def set_description(session: Session, name: str, description: str, *, actor: str, now: datetime) -> None:
    """Set the description of a model, which is inserted if it is new."""
    row = create(session, name, actor=actor, now=now, description=description)
    if row.description == description:
        return
    row.description = description
    audit.record(
        session,
        actor=actor,
        verb="model.set_description",
        subject=f"model:{name}",
        now=now,
        detail={"description": description},
    )


def require(session: Session, name: str) -> store.versions.ModelRow:
    """The model with that name.

    Raises:
        UnknownModel: there is none.
    """
    row = store.versions.model(session, name)
    if row is None:
        raise UnknownModel(f"there is no model {name!r}; see `graylag model list`", field="model")
    return row


def list_all(session: Session) -> Sequence[store.versions.ModelRow]:
    """All models, by name."""
    return store.versions.models(session)


def set_disabled(
    session: Session, name: str, *, disabled: bool, actor: str, reason: str, now: datetime
) -> store.versions.ModelRow:
    """Disable or enable a model. Repeating it only adds an audit entry.

    While a model is disabled, every poll is answered with `pause`, whatever its rollouts are.

    Raises:
        UnknownModel: there is no such model.
        ReasonRequired: the reason is empty.
    """
    require_reason("disabling or enabling a model", reason)
    row = require(session, name)
    row.disabled = disabled
    verb = "model.disable" if disabled else "model.enable"
    audit.record(session, actor=actor, verb=verb, subject=f"model:{name}", now=now, detail={"reason": reason})
    return row
