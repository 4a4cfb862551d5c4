"""The audit log."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.dependencies import (
    ReadOnly,
    Viewer,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.schemas.platform import (
    AuditView,
)
from service.api.problems import RESPONSES
from service.operations.platform import audit

router = APIRouter(prefix="/v1/admin", tags=["audit"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/audit", summary="Who did what and why")
def list_audit(
    session: ReadOnly,
    _caller: Viewer,
    after: Annotated[int, Query(ge=0, lt=2**63, description="Go on behind this id.")] = 0,
    before: Annotated[
        int | None, Query(ge=0, lt=2**63, description="The newest entries before this id instead.")
    ] = None,
    subject: Annotated[
        str | None, Query(max_length=300, description="About this only, for example rollout:autumn.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[AuditView]:
    """Oldest first; ask again with the last id as `after`. Each hash covers its entry and the hash before."""
    rows = audit.list_entries(session, after=after, before=before, subject=subject, limit=limit)
    return [AuditView.model_validate(row) for row in rows]
