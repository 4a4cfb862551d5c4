"""Background jobs: list them, and requeue a dead one."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from service.api.dependencies import (
    JobBell,
    Now,
    ReadOnly,
    ReleaseManager,
    Transaction,
    Viewer,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.schemas.platform import (
    JobView,
)
from service.api.problems import RESPONSES
from service.operations.platform import jobs
from service.operations.releases import versions

router = APIRouter(prefix="/v1/admin", tags=["jobs"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/jobs", summary="Background work")
def list_jobs(
    session: ReadOnly,
    _caller: Viewer,
    state: Annotated[Literal["queued", "running", "done", "dead"] | None, Query()] = None,
) -> list[JobView]:
    """The newest 100, newest first."""
    return [JobView.model_validate(row) for row in jobs.list_all(session, state=state)]


@router.post("/jobs/{job_id}/requeue", summary="Give a dead job another round")
def requeue_job(
    job_id: UUID, session: Transaction, notifier: JobBell, _caller: ReleaseManager, now: Now
) -> JobView:
    """Once what killed it has been mended."""
    row = jobs.requeue(session, notifier, job_id, now=now)
    versions.reopen(session, row.kind, row.args)
    return JobView.model_validate(row)
