"""Routes of the audit log."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import ReadOnly, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.platform import AuditView
from service.operations.platform import audit

router = APIRouter(prefix="/v1/admin", tags=["audit"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/audit", summary="List audit log entries")
def list_audit_entries(
    session: ReadOnly,
    _caller: Viewer,
    after: Annotated[int, Query(ge=0, lt=2**63, description="Return entries after this id.")] = 0,
    before: Annotated[
        int | None, Query(ge=0, lt=2**63, description="Return the newest entries before this id instead.")
    ] = None,
    subject: Annotated[
        str | None,
        Query(max_length=300, description="Only entries on this subject, for example rollout:autumn."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[AuditView]:
    """Oldest first. For the next page, send the last id as `after`. Each hash covers an entry and the hash before it."""
    rows = audit.list_entries(session, after=after, before=before, subject=subject, limit=limit)
    return [AuditView.model_validate(row) for row in rows]
