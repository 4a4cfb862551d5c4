"""Run a job by its id: the kind of the job selects the handler."""

from uuid import UUID

from service.infrastructure import jobs
from workers.context import WorkerContext
from workers.job_runner import run_job
from workers.tasks import ingest, patches, sign, webhooks

HANDLERS = {
    jobs.INGEST_VERSION: (ingest.run, ingest.on_dead),
    jobs.SIGN_VERSION: (sign.run, ingest.on_dead),
    jobs.BUILD_PATCH: (patches.run, patches.on_dead),
    jobs.DELIVER_WEBHOOK: (webhooks.run, webhooks.on_dead),
}
"""Kind of job -> its handler, and the callback for a job that is dead."""


def run_by_id(context: WorkerContext, job_id: str) -> None:
    """Claim and run the job with this id."""
    run_job(context, UUID(job_id), HANDLERS)
