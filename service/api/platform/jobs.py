"""Routes of background jobs."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from service.api.dependencies import Notifier, Now, ReadOnly, ReleaseManager, Transaction, Viewer
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.platform import JobView
from service.operations.platform import jobs
from service.operations.releases import versions

router = APIRouter(prefix="/v1/admin", tags=["jobs"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/jobs", summary="List background jobs")
def list_jobs(
    session: ReadOnly,
    _caller: Viewer,
    state: Annotated[Literal["queued", "running", "done", "dead"] | None, Query()] = None,
) -> list[JobView]:
    """Return the newest 100 jobs, newest first."""
    return [JobView.model_validate(row) for row in jobs.list_all(session, state=state)]


@router.post("/jobs/{job_id}/requeue", summary="Queue a dead job again")
def requeue_job(
    job_id: UUID, session: Transaction, notifier: Notifier, _caller: ReleaseManager, now: Now
) -> JobView:
    """Queue a dead job again, with new attempts, after the cause of its failure has been removed."""
    return JobView.model_validate(versions.requeue_job(session, notifier, job_id, now=now))
