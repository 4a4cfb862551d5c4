"""The kinds of background jobs, their queues, and the notification of workers.

A notification is a Celery message with the id of a job. It may be lost, repeated or late, because the row in PostgreSQL
decides what is to be done and a sweep sends another one.
"""

from dataclasses import dataclass
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from service.infrastructure.observability import log

RUN_JOB = "graylag.run_job"
EVALUATE_ROLLOUTS = "graylag.evaluate_rollouts"
SWEEP = "graylag.sweep"
DISPATCH_WEBHOOKS = "graylag.dispatch_webhooks"
PLAN_PATCHES = "graylag.plan_patches"

INGEST_VERSION = "ingest_version"
SIGN_VERSION = "sign_version"
BUILD_PATCH = "build_patch"
DELIVER_WEBHOOK = "deliver_webhook"

# Webhooks have their own queue, so that a slow receiver does not delay gates.
QUEUES = {
    INGEST_VERSION: "ingest",
    SIGN_VERSION: "signing",
    BUILD_PATCH: "delta",
    DELIVER_WEBHOOK: "webhooks",
}
"""Kind of job -> queue. The workers of a queue hold only the keys that its jobs need."""
HOUSEKEEPING = "housekeeping"
ALL_QUEUES = (*dict.fromkeys(QUEUES.values()), HOUSEKEEPING)


def celery_app(url: str) -> Celery:
    """A Celery application that sends messages and, in a worker, receives them."""
    app = Celery("graylag", broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=HOUSEKEEPING,
        task_create_missing_queues=True,
        # The sweep redelivers, so an early acknowledgement avoids duplicates after the visibility timeout of Redis.
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
class JobNotifier:
    """Notifies workers of jobs."""

    app: Celery

    def notify(self, job_id: UUID, kind: str) -> None:
        """Notify a worker of a job; if the broker is unavailable, the sweep notifies again."""
        self._send(RUN_JOB, [str(job_id)], QUEUES[kind])

    def _send(self, task: str, arguments: list[str], queue: str) -> None:
        try:
            self.app.send_task(task, args=arguments, queue=queue)
        except (OperationalError, OSError) as error:
            log("jobs").warning("job_notification.failed", task=task, queue=queue, error=type(error).__name__)
