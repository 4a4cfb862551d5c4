"""A bell has rung: run the job that it names."""

from uuid import UUID

from service import jobs
from workers.context import WorkerContext, run_job
from workers.tasks import ingest, patches, sign, webhooks

HANDLERS = {
    jobs.INGEST_VERSION: (ingest.run, ingest.bury),
    jobs.SIGN_VERSION: (sign.run, ingest.bury),
    jobs.BUILD_PATCH: (patches.run, patches.bury),
    jobs.DELIVER_WEBHOOK: (webhooks.run, webhooks.bury),
}
"""Kind of job -> what does it, and what clears up when it will never be done."""


def run(context: WorkerContext, job_id: str) -> None:
    """Run a job by its id."""
    run_job(context, UUID(job_id), HANDLERS)
