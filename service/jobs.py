"""Every kind of background work, its queue, and the bell that wakes a worker.

The bell is a Celery message with a job's id. It may be lost, doubled or late: the row in Postgres
decides what is to be done, and a sweep rings again.
"""

from dataclasses import dataclass
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from service.observability import log

RUN_JOB = "graylag.run_job"
EVALUATE_ROLLOUTS = "graylag.evaluate_rollouts"
SWEEP = "graylag.sweep"
RING_FOR_WEBHOOKS = "graylag.ring_for_webhooks"
PLAN_PATCHES = "graylag.plan_patches"

INGEST_VERSION = "ingest_version"
SIGN_VERSION = "sign_version"
BUILD_PATCH = "build_patch"
DELIVER_WEBHOOK = "deliver_webhook"

# Webhooks have a queue of their own: somebody else's slow server must not keep gates waiting.
QUEUES = {
    INGEST_VERSION: "ingest",
    SIGN_VERSION: "signing",
    BUILD_PATCH: "delta",
    DELIVER_WEBHOOK: "webhooks",
}
"""Kind of job -> queue. Each queue's workers hold only the keys that its jobs need."""
HOUSEKEEPING = "housekeeping"
ALL_QUEUES = (*dict.fromkeys(QUEUES.values()), HOUSEKEEPING)


def broker(url: str) -> Celery:
    """A Celery application that can send and, in a worker, receive."""
    app = Celery("graylag", broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=HOUSEKEEPING,
        task_create_missing_queues=True,
        # Postgres redelivers. An early acknowledgement takes Redis' visibility timeout out of the picture.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
        },
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
        worker_hijack_root_logger=False,
        timezone="UTC",
        enable_utc=True,
    )
    return app


@dataclass(frozen=True, slots=True)
class Bell:
    """Tells workers that there is something to do."""

    app: Celery

    def ring(self, job_id: UUID, kind: str) -> None:
        """Ask for a job to be run; if the broker is away, the sweep asks again."""
        self._send(RUN_JOB, [str(job_id)], QUEUES[kind])

    def _send(self, task: str, arguments: list[str], queue: str) -> None:
        try:
            self.app.send_task(task, args=arguments, queue=queue)
        except (OperationalError, OSError) as error:
            log("jobs").warning("bell.unheard", task=task, queue=queue, error=type(error).__name__)
