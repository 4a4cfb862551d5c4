"""Who may use the admin API. Writes `api_tokens`."""

from datetime import datetime

from sqlalchemy.orm import Session

from service import store, tokens
from service.errors import Invalid, NameTaken, NotFound, Unauthorized
from service.operations import audit

SCOPES = ("viewer", "publisher", "release-manager", "admin")


def create_api_token(
    session: Session,
    name: str,
    scope: str,
    *,
    actor: str,
    now: datetime,
    expires_at: datetime | None = None,
    person: str | None = None,
) -> str:
    """A secret for a person or a machine; shown once, kept as a hash.

    Args:
        session: the transaction.
        name: what it is called in the audit log.
        scope: one of `SCOPES`.
        actor: who makes it.
        now: the time of the request.
        expires_at: when it stops being good.
        person: whose it is; all tokens of one person are one voice where several people have to agree.

    Raises:
        Invalid: unknown scope.
        NameTaken: there is a token of that name.
    """
    if scope not in SCOPES:
        raise Invalid(f"one of {', '.join(SCOPES)}", field="scope")
    if any(row.name == name for row in store.devices.api_tokens(session)):
        raise NameTaken(f"there is a token {name!r}", field="name")
    secret = tokens.new_secret("gla")
    session.add(
        store.devices.ApiTokenRow(
            name=name, hash=tokens.secret_hash(secret), scope=scope, expires_at=expires_at, person=person
        )
    )
    audit.record(
        session,
        actor=actor,
        verb="api_token.create",
        subject=f"api_token:{name}",
        now=now,
        detail={"scope": scope} | ({"person": person} if person else {}),
    )
    return secret


def revoke_api_token(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Make a token useless at once.

    Raises:
        NotFound: there is none of that name.
    """
    row = next((row for row in store.devices.api_tokens(session) if row.name == name), None)
    if row is None:
        raise NotFound(f"there is no token {name!r}", field="name")
    row.revoked = True
    audit.record(session, actor=actor, verb="api_token.revoke", subject=f"api_token:{name}", now=now)


def authenticate(session: Session, secret: str, *, now: datetime) -> tokens.Caller:
    """Who is behind an API token.

    Raises:
        Unauthorized: unknown, revoked or expired.
    """
    row = store.devices.api_token(session, tokens.secret_hash(secret))
    if row is None or row.revoked:
        raise Unauthorized("this API token is not known here")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthorized("this API token has expired")
    return tokens.Caller(row.name, row.scope)
