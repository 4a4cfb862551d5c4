"""CI without a long-lived secret: a job's own identity token is exchanged for a short one. Writes `api_tokens`."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store, tokens
from service.errors import Forbidden
from service.operations import audit

LIFETIME = timedelta(minutes=15)
SCOPE = "publisher"
"""Uploads and nothing else: what is published reaches devices by a release manager's word."""
CLAIM = "repository_id"
"""A number that a repository keeps for ever: its name may be given up, and taken by somebody else."""
_KEEP = timedelta(days=1)


def exchange(
    session: Session, claims: Mapping[str, Any], repositories: Collection[str], *, now: datetime
) -> str:
    """An API token for a CI job whose identity token has been verified; good for 15 minutes of uploads.

    Args:
        session: the transaction.
        claims: of the verified token.
        repositories: the ids of the repositories that may publish.
        now: the time of the request.

    Raises:
        Forbidden: the job belongs to another repository.
    """
    repository = str(claims[CLAIM])
    if repository not in repositories:
        raise Forbidden(f"repository {repository} may not publish here")
    secret, name = tokens.new_secret("gla"), f"ci:{repository}:{claims['jti']}"
    store.devices.forget_api_tokens(session, prefix="ci:", expired_before=now - _KEEP)
    session.add(
        store.devices.ApiTokenRow(
            name=name, hash=tokens.secret_hash(secret), scope=SCOPE, expires_at=now + LIFETIME
        )
    )
    audit.record(
        session,
        actor=f"ci:{repository}",
        verb="api_token.exchange",
        subject=f"api_token:{name}",
        now=now,
        detail={
            name: str(claims[name])[:200] for name in ("repository", "ref", "sha", "run_id") if name in claims
        },
    )
    return secret
