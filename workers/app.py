"""The Celery application: its tasks, and the schedule of `beat`."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

from service.config import Settings, settings
from service.infrastructure import jobs
from service.infrastructure.observability import configure_logging
from workers.context import WorkerContext
from workers.tasks import dispatch, scheduled


def create(app_settings: Settings) -> Celery:
    """Create the application with its tasks and its beat schedule."""
    app = jobs.celery_app(app_settings.redis_url.get_secret_value())
    context = _LazyContext(app_settings)

    def run_job(job_id: str) -> None:
        dispatch.run_by_id(context.get(), job_id)

    def evaluate_rollouts() -> None:
        scheduled.evaluate_rollouts(context.get())

    def sweep() -> None:
        scheduled.sweep(context.get())

    def dispatch_webhooks() -> None:
        scheduled.dispatch_webhooks(context.get())

    def plan_patches() -> None:
        scheduled.plan_patches(context.get())

    app.task(run_job, name=jobs.RUN_JOB)
    app.task(evaluate_rollouts, name=jobs.EVALUATE_ROLLOUTS)
    app.task(sweep, name=jobs.SWEEP)
    app.task(dispatch_webhooks, name=jobs.DISPATCH_WEBHOOKS)
    app.task(plan_patches, name=jobs.PLAN_PATCHES)
    app.conf.beat_schedule = {
        "rollouts": _periodic(jobs.EVALUATE_ROLLOUTS, app_settings.gate_interval_s),
        "webhooks": _periodic(jobs.DISPATCH_WEBHOOKS, app_settings.webhook_interval_s),
        "sweep": _periodic(jobs.SWEEP, app_settings.sweep_interval_s),
        "patches": _periodic(jobs.PLAN_PATCHES, app_settings.patch_plan_interval_s),
    }
    return app


class _LazyContext:
    """The context of this process, created on first use: connections do not survive a fork."""

    def __init__(self, app_settings: Settings) -> None:
        self._settings = app_settings
        self._context: WorkerContext | None = None
        worker_process_init.connect(self._reset, weak=False)

    def get(self) -> WorkerContext:
        if self._context is None:
            self._context = WorkerContext.from_settings(self._settings)
        return self._context

    def _reset(self, **_signal: Any) -> None:
        self._context = None


def _periodic(task: str, seconds: float) -> dict[str, Any]:
    """A schedule entry. A message that no worker takes in time expires, because the next one does the same."""
    return {
        "task": task,
        "schedule": seconds,
        "options": {"queue": jobs.HOUSEKEEPING, "expires": max(1.0, seconds)},
    }


def _configure_logging(**_signal: Any) -> None:
    configure_logging(settings().log_format, settings().log_level)


setup_logging.connect(_configure_logging)
app = create(settings())
