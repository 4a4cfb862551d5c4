"""Models, each with a line of versions, and their kill switches. Writes `models`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service import store
from service.domain.rollouts import require_reason
from service.errors import UnknownModel
from service.operations import audit


def create(
    session: Session, name: str, *, actor: str, now: datetime, description: str = ""
) -> store.versions.ModelRow:
    """The model of that name, made if it is new."""
    done = session.execute(
        insert(store.versions.ModelRow)
        .values(name=name, description=description)
        .on_conflict_do_nothing()
        .returning(store.versions.ModelRow.name)
    ).scalar()
    if done:
        audit.record(session, actor=actor, verb="model.create", subject=f"model:{name}", now=now)
    return require(session, name)


def describe(session: Session, name: str, description: str, *, actor: str, now: datetime) -> None:
    """Say what a model is, making it if it is new; saying it again changes nothing.

    Raises:
        UnknownModel: it went away at this moment.
    """
    row = create(session, name, actor=actor, now=now, description=description)
    if row.description == description:
        return
    row.description = description
    audit.record(
        session,
        actor=actor,
        verb="model.describe",
        subject=f"model:{name}",
        now=now,
        detail={"description": description},
    )


def require(session: Session, name: str) -> store.versions.ModelRow:
    """The model of that name.

    Raises:
        UnknownModel: there is none.
    """
    row = store.versions.model(session, name)
    if row is None:
        raise UnknownModel(f"there is no model {name!r}", field="model")
    return row


def list_all(session: Session) -> Sequence[store.versions.ModelRow]:
    """All models, by name."""
    return store.versions.models(session)


def set_killed(
    session: Session, name: str, *, killed: bool, actor: str, reason: str, now: datetime
) -> store.versions.ModelRow:
    """Throw a model's kill switch, or put it back; saying it again changes nothing but the audit log.

    While it is thrown, every poll is told to hold: no device gets anything, whatever its rollouts say.

    Raises:
        UnknownModel: there is no such model.
        ReasonRequired: nothing was said.
    """
    require_reason("throwing or putting back a kill switch", reason)
    row = require(session, name)
    row.killed = killed
    verb = "model.kill" if killed else "model.revive"
    audit.record(session, actor=actor, verb=verb, subject=f"model:{name}", now=now, detail={"reason": reason})
    return row
