"""Enrollment tokens and API tokens."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import (
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Text

from service.store.base import Created, Serial, Table


class EnrollmentTokenRow(Table):
    """A secret that lets devices enroll; only its hash is stored.

    Attributes:
        models: the models that its devices are served; None for all.
    """

    __tablename__ = "enrollment_tokens"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(unique=True)
    models: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    max_uses: Mapped[int | None]
    uses: Mapped[int] = mapped_column(server_default="0")
    expires_at: Mapped[datetime | None]
    revoked: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class ApiTokenRow(Table):
    """A secret of a person or a machine for the admin API; only its hash is stored.

    Attributes:
        person: the owner; None if the token counts as a person of its own.
    """

    __tablename__ = "api_tokens"

    id: Mapped[Serial]
    name: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[str]
    person: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    revoked: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


def enrollment_token(session: Session, token_hash: str) -> EnrollmentTokenRow | None:
    """The enrollment token of that hash, locked because its uses are counted."""
    return session.scalar(
        select(EnrollmentTokenRow).where(EnrollmentTokenRow.hash == token_hash).with_for_update()
    )


def api_token(session: Session, token_hash: str) -> ApiTokenRow | None:
    """The API token of that hash."""
    return session.scalar(select(ApiTokenRow).where(ApiTokenRow.hash == token_hash))


def people_behind_tokens(session: Session, names: Collection[str]) -> dict[str, str]:
    """Return token name -> its owner, including revoked tokens; the name itself if there is no owner or no token."""
    query = select(ApiTokenRow.name, ApiTokenRow.person).where(ApiTokenRow.name.in_(names))
    return {name: name for name in names} | {name: person or name for name, person in session.execute(query)}


def api_tokens(session: Session) -> Sequence[ApiTokenRow]:
    """All API tokens, by name."""
    return session.scalars(select(ApiTokenRow).order_by(ApiTokenRow.name)).all()


def enrollment_token_by_name(session: Session, name: str) -> EnrollmentTokenRow | None:
    """The enrollment token of that name."""
    return session.scalar(select(EnrollmentTokenRow).where(EnrollmentTokenRow.name == name))
