"""The Celery application: which tasks there are, on which queues, and what beat does when."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

from service import jobs
from service.config import Settings, settings
from service.observability import configure_logging
from workers.context import WorkerContext
from workers.tasks import bells, ticks


def create(chosen: Settings) -> Celery:
    """The application, with everything that arrives and everything that beat sends."""
    app = jobs.broker(chosen.redis_url.get_secret_value())
    process = _Process(chosen)

    def run_job(job_id: str) -> None:
        bells.run(process.context(), job_id)

    def evaluate_rollouts() -> None:
        ticks.evaluate_rollouts(process.context())

    def sweep() -> None:
        ticks.sweep(process.context())

    def ring_for_webhooks() -> None:
        ticks.ring_for_webhooks(process.context())

    def plan_patches() -> None:
        ticks.plan_patches(process.context())

    app.task(run_job, name=jobs.RUN_JOB)
    app.task(evaluate_rollouts, name=jobs.EVALUATE_ROLLOUTS)
    app.task(sweep, name=jobs.SWEEP)
    app.task(ring_for_webhooks, name=jobs.RING_FOR_WEBHOOKS)
    app.task(plan_patches, name=jobs.PLAN_PATCHES)
    app.conf.beat_schedule = {
        "rollouts": _every(jobs.EVALUATE_ROLLOUTS, chosen.rollout_tick_s),
        "webhooks": _every(jobs.RING_FOR_WEBHOOKS, chosen.webhook_tick_s),
        "sweep": _every(jobs.SWEEP, chosen.sweep_tick_s),
        "patches": _every(jobs.PLAN_PATCHES, chosen.patch_plan_tick_s),
    }
    return app


class _Process:
    """The context of this process; made after the fork, since connections do not survive one."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._context: WorkerContext | None = None
        worker_process_init.connect(self._forget, weak=False)

    def context(self) -> WorkerContext:
        if self._context is None:
            self._context = WorkerContext.from_settings(self._settings)
        return self._context

    def _forget(self, **_signal: Any) -> None:
        self._context = None


def _every(task: str, seconds: float) -> dict[str, Any]:
    """A tick that nobody took in time is dropped: the next one does the same."""
    return {
        "task": task,
        "schedule": seconds,
        "options": {"queue": jobs.HOUSEKEEPING, "expires": max(1.0, seconds)},
    }


def _logging(**_signal: Any) -> None:
    configure_logging(settings().log_format, settings().log_level)


setup_logging.connect(_logging)
app = create(settings())
