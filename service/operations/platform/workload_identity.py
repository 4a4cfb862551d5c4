"""Workload identity: a CI job exchanges its identity token for a short-lived API token, so that it needs no secret."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service.errors import Forbidden
from service.operations.platform import api_tokens, audit

LIFETIME = timedelta(minutes=15)
SCOPE = "publisher"
"""The token may upload versions only; a release manager decides what reaches devices."""
REPOSITORY_CLAIM = "repository_id"
"""The id of a repository never changes, whereas another owner may take over its name."""
_EXPIRED_TOKEN_RETENTION = timedelta(days=1)
_AUDITED_CLAIMS = ("repository", "ref", "sha", "run_id")


def exchange_token(
    session: Session, claims: Mapping[str, Any], repositories: Collection[str], *, now: datetime
) -> str:
    """Create an API token for a CI job and return its secret.

    Args:
        session: the transaction.
        claims: the claims of the verified identity token.
        repositories: the ids of the repositories that may publish.
        now: the current time.

    Raises:
        Forbidden: the job belongs to another repository.
    """
    repository = str(claims[REPOSITORY_CLAIM])
    if repository not in repositories:
        raise Forbidden(f"repository {repository} may not publish here; ask an operator to add it")
    name = f"ci:{repository}:{claims['jti']}"
    api_tokens.delete_expired(session, prefix="ci:", before=now - _EXPIRED_TOKEN_RETENTION)
    secret = api_tokens.add(session, name, SCOPE, expires_at=now + LIFETIME)
    audit.record(
        session,
        actor=f"ci:{repository}",
        verb="api_token.exchange",
        subject=f"api_token:{name}",
        now=now,
        detail={claim: str(claims[claim])[:200] for claim in _AUDITED_CLAIMS if claim in claims},
    )
    return secret
