"""Tokens of the admin API. Writes `api_tokens`."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from service import store
from service.errors import Invalid, NameTaken, NotFound, Unauthorized
from service.infrastructure import tokens
from service.operations.platform import audit

SCOPES = ("viewer", "publisher", "release-manager", "admin")


def create(
    session: Session,
    name: str,
    scope: str,
    *,
    actor: str,
    now: datetime,
    expires_at: datetime | None = None,
    person: str | None = None,
) -> str:
    """Create an API token and return its secret, which is stored as a hash only.

    Args:
        session: the transaction.
        name: the name of the token, which appears in the audit log.
        scope: one of `SCOPES`.
        actor: who creates it.
        now: the current time.
        expires_at: when it expires; None for never.
        person: its owner. All tokens of one person count as one person when several people have to approve.

    Raises:
        Invalid: the scope is unknown.
        NameTaken: there is a token with that name.
    """
    if scope not in SCOPES:
        raise Invalid(f"unknown scope {scope!r}; use one of {', '.join(SCOPES)}", field="scope")
    if any(row.name == name for row in store.tokens.api_tokens(session)):
        raise NameTaken(f"there is a token {name!r} already; choose another name", field="name")
    secret = add(session, name, scope, expires_at=expires_at, person=person)
    audit.record(
        session,
        actor=actor,
        verb="api_token.create",
        subject=f"api_token:{name}",
        now=now,
        detail={"scope": scope} | ({"person": person} if person else {}),
    )
    return secret


def add(
    session: Session,
    name: str,
    scope: str,
    *,
    expires_at: datetime | None = None,
    person: str | None = None,
) -> str:
    """Insert a token without checks and without an audit entry; return its secret."""
    secret = tokens.new_secret("gla")
    row = store.tokens.ApiTokenRow(
        name=name, hash=tokens.secret_hash(secret), scope=scope, expires_at=expires_at, person=person
    )
    session.add(row)
    return secret


def revoke(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Revoke a token at once.

    Raises:
        NotFound: there is no token with that name.
    """
    row = next((row for row in store.tokens.api_tokens(session) if row.name == name), None)
    if row is None:
        raise NotFound(f"there is no token {name!r}", field="name")
    row.revoked = True
    audit.record(session, actor=actor, verb="api_token.revoke", subject=f"api_token:{name}", now=now)


def delete_expired(session: Session, *, prefix: str, before: datetime) -> None:
    """Delete the tokens whose names start with a prefix and that expired before a time; the audit log keeps them."""
    table = store.tokens.ApiTokenRow
    expired = table.name.startswith(prefix, autoescape=True) & (table.expires_at < before)
    session.execute(delete(table).where(expired))


def authenticate(session: Session, secret: str, *, now: datetime) -> tokens.Caller:
    """The caller that a secret belongs to.

    Raises:
        Unauthorized: the token is unknown, revoked or expired.
    """
    row = store.tokens.api_token(session, tokens.secret_hash(secret))
    if row is None or row.revoked:
        raise Unauthorized("unknown or revoked API token; ask for another")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthorized("this API token has expired; ask for another")
    return tokens.Caller(row.name, row.scope)
